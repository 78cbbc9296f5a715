# The end-to-end suite, on a node without Docker or on kind.
#   E2E_BINARIES  folder of the programs that go into the images
#   E2E_TESTS     part of a test's name
#   KIND_IMAGE    node image, which is the Kubernetes version; by default kind's own
#   KIND_CONFIG   configuration of the kind cluster, for example for IPv6
E2E_BINARIES ?= target/debug
E2E_TESTS ?=
KIND_IMAGE ?=
KIND_CONFIG ?=
E2E_OUT := target/e2e
E2E_OPERATOR := fdi-operator.test/fdi-operator
E2E_ARCHIVES := $(E2E_OUT)/fdi-operator.tar $(E2E_OUT)/fdi-operator-next.tar $(E2E_OUT)/fdi-simulator.tar
e2e_comma := ,
e2e_runner = ["$(CURDIR)/target/debug/controlplane", "node", $(foreach archive,$(E2E_ARCHIVES),"--image=$(CURDIR)/$(archive)"$(e2e_comma)) "--", "$(CURDIR)/tests/e2e/explain-failure"]
# `env`, because a script may run these words as a program with arguments.
e2e_suite = env RUST_BACKTRACE=0 cargo test --locked --package=e2e --test=e2e $(1) -- --test-threads=1 $(E2E_TESTS)
e2e_kind = tests/e2e/on-kind $(if $(KIND_IMAGE),--image $(KIND_IMAGE)) $(if $(KIND_CONFIG),--config $(KIND_CONFIG)) $(E2E_ARCHIVES) -- $(call e2e_suite,)
# 69 is EX_UNAVAILABLE: the machine lacks something, and the script has said what.
e2e_unless_unavailable = || { [ $$? -eq 69 ] && echo "$@: NOT RUN"; }

e2e: e2e-images ## the shipped manifests on a real node without Docker (root on Linux)
	@target/debug/controlplane node-check
	cargo test --locked --package=controlplane --test=node -- --test-threads=1
	$(call e2e_suite,--config 'target."cfg(unix)".runner = $(e2e_runner)')

e2e-where-possible: ## the same; succeeds with a message where there can be no node
	@tests/e2e/prepare && $(MAKE) e2e $(e2e_unless_unavailable)

e2e-kind: e2e-images ## the same suite on kind (Docker and kind); KIND_IMAGE and KIND_CONFIG choose the cluster
	@$(e2e_kind)

e2e-kind-where-possible: e2e-images ## the same; succeeds with a message where there is no Docker or kind
	@$(e2e_kind) $(e2e_unless_unavailable)

e2e-node: ## a node for trying things out, until Ctrl-C
	cargo run --locked --package=controlplane -- node

e2e-images:
	cargo build --locked --package=controlplane --package=fdi-operator --package=fdi-simulator
	@mkdir -p $(E2E_OUT)
	@$(call image_archive,$(E2E_BINARIES)/fdi-operator,$(E2E_OPERATOR):e2e,$(E2E_OUT)/fdi-operator.tar,$(operator_image))
	@$(call image_archive,$(E2E_BINARIES)/fdi-operator,$(E2E_OPERATOR):e2e-next,$(E2E_OUT)/fdi-operator-next.tar,$(operator_image))
	@$(call image_archive,$(E2E_BINARIES)/fdi-simulator,fdi-operator.test/fdi-simulator:e2e,$(E2E_OUT)/fdi-simulator.tar,)
.PHONY: e2e e2e-where-possible e2e-kind e2e-kind-where-possible e2e-node e2e-images
