# make help lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash

-include deploy/deploy.mk tests/book/book.mk tests/contract/contract.mk tests/e2e/e2e.mk tests/fuzz/fuzz.mk tests/gitops/gitops.mk tests/monitoring/monitoring.mk benches/benches.mk

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a short story on a real API server, with a simulated FDI service
	cargo build --locked --bin fdi-operator --example demo
	cargo run --locked --quiet --example demo

test: lint unit integration contract ## everything that must hold before a commit

lint: ## formatting, clippy, one TLS provider
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@! cargo tree --locked --workspace --prefix none | grep -E '^(aws-lc-rs|openssl) ' || { echo "ring must be the only TLS provider"; exit 1; }

unit: ## unit and property tests, and those of the simulator and the control plane
	cargo test --locked --workspace --exclude controlplane --lib --bins
	cargo test --locked --package controlplane --package fdi-simulator

integration: ## the operator on a real kube-apiserver; K8S=1.33 chooses another one
	cargo test --locked --test it

scale: ## the real binary at scale, each figure beside its floor; SCALE="--page docs/performance.md"
	cargo bench --locked --bench scale -- $(SCALE)

crds: ## generate the CRDs
	cargo run --locked --quiet --bin fdi-operator -- crds > crds/fdi.romaconnect.dev.yaml

docs: ## generate the pages of flags, fields, and conditions with their messages
	cargo run --locked --quiet --bin fdi-operator -- docs flags > docs/flags.md
	cargo run --locked --quiet --bin fdi-operator -- docs reference > docs/reference.md
	WRITE_DOCS=1 cargo test --locked --quiet --package fdi-operator --lib the_page_of_conditions

sessions: ## record the sessions of docs/cli.md
	WRITE_DOCS=1 cargo test --locked --quiet --test it the_sessions_of_the_page

.PHONY: help demo test lint unit integration scale crds docs sessions
