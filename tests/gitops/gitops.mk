# How Flux and Argo CD judge our objects. The tests use the programs that are built first;
# FDI_OPERATOR_BIN, FDI_SIMULATOR_BIN and CONTROLPLANE_BIN select others.
test-gitops: ## Flux, Argo CD and kstatus against the real API server (70 s)
	cargo build --locked --workspace
	cd tests/gitops && go vet ./... && go test -count=1 ./...

lint-workflows: ## actionlint over .github/workflows
	cd tests/gitops && go tool actionlint -shellcheck= -pyflakes= ../../.github/workflows/*.yml
.PHONY: test-gitops lint-workflows
