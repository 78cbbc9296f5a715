# The end-to-end suite on its two grounds. E2E_BINARIES: the folder whose programs go into the images. E2E_TESTS: a part of a test's name.
E2E_BINARIES ?= target/debug
E2E_TESTS ?=
E2E_OUT := target/e2e
E2E_OPERATOR := fdi-operator.test/fdi-operator
E2E_ARCHIVES := $(E2E_OUT)/fdi-operator.tar $(E2E_OUT)/fdi-operator-next.tar $(E2E_OUT)/fdi-simulator.tar
e2e_comma := ,
e2e_runner = ["$(CURDIR)/target/debug/controlplane", "node", $(foreach archive,$(E2E_ARCHIVES),"--image=$(CURDIR)/$(archive)"$(e2e_comma)) "--", "$(CURDIR)/tests/e2e/explain-failure"]
e2e_suite = RUST_BACKTRACE=0 cargo test --locked --package=e2e --test=e2e $(1) -- --test-threads=1 $(E2E_TESTS)

e2e: e2e-images ## the shipped manifests on a real node without Docker (root on Linux)
	@target/debug/controlplane node-check
	cargo test --locked --package=controlplane --test=node -- --test-threads=1
	$(call e2e_suite,--config 'target."cfg(unix)".runner = $(e2e_runner)')

e2e-where-possible: ## the same, but a machine that cannot is told so and passes
	@tests/e2e/prepare && $(MAKE) e2e || { [ $$? -eq 69 ] && echo "e2e: NOT RUN: this is not root on a Debian-like Linux"; }

e2e-kind: e2e-images ## the same suite on kind (Docker and kind)
	@tests/e2e/on-kind $(E2E_ARCHIVES) -- $(call e2e_suite,)

e2e-node: ## a node to play with, until Ctrl-C
	cargo run --locked --package=controlplane -- node

# The programs are cargo's to judge; an archive is a second's work.
e2e-images:
	cargo build --locked --package=controlplane --package=fdi-operator --package=fdi-simulator
	@mkdir -p $(E2E_OUT)
	@python3 deploy/image/archive.py --binary $(E2E_BINARIES)/fdi-operator --name $(E2E_OPERATOR):e2e --output $(E2E_OUT)/fdi-operator.tar
	@python3 deploy/image/archive.py --binary $(E2E_BINARIES)/fdi-operator --name $(E2E_OPERATOR):e2e-next --output $(E2E_OUT)/fdi-operator-next.tar
	@python3 deploy/image/archive.py --binary $(E2E_BINARIES)/fdi-simulator --name fdi-operator.test/fdi-simulator:e2e --output $(E2E_OUT)/fdi-simulator.tar
.PHONY: e2e e2e-where-possible e2e-kind e2e-node e2e-images
