# Manifests, chart and image. The top Makefile includes this file; docs/install.md says what each is
# for.
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= ghcr.io/fdi-operator/fdi-operator
TAG ?= v$(VERSION)
ARCHIVES ?= target/image
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
KUSTOMIZE = go -C tests/deploy tool kustomize
HELM = go -C tests/deploy tool helm
# $(call image_archive,PROGRAM,NAME,FILE,OPTIONS)
LICENCES ?= LICENSE $(ARCHIVES)/THIRD-PARTY.txt
image_archive = python3 deploy/image/archive.py --binary $(1) --name $(2) --output $(3) $(4)
# What the last stage of the Dockerfile says; a test compares the two images.
operator_image = --command run --port 8080 --working-directory /home/nonroot \
	--label org.opencontainers.image.title=fdi-operator \
	--label org.opencontainers.image.description="Kubernetes operator that keeps Huawei Cloud ROMA Connect FDI tasks running or stopped" \
	--label org.opencontainers.image.source=https://github.com/fdi-operator/fdi-operator \
	--label org.opencontainers.image.licenses=Apache-2.0 \
	--label org.opencontainers.image.version=$(VERSION) \
	--label org.opencontainers.image.revision=$(REVISION)

manifests: ## render deploy/install.yaml and copy CRDs, rules and dashboard to where kustomize and Helm read them
	cp crds/fdi.romaconnect.dev.yaml deploy/crds/
	cp crds/fdi.romaconnect.dev.yaml deploy/helm/fdi-operator/files/crds/
	cp deploy/monitoring/rules.yaml deploy/monitoring/dashboard.json deploy/helm/fdi-operator/files/monitoring/
	cp deploy/kustomize/namereference.yaml deploy/samples/
	cp deploy/kustomize/namereference.yaml deploy/gitops/orders/connection/
	$(KUSTOMIZE) build $(CURDIR)/deploy/overlays/default --output $(CURDIR)/deploy/install.yaml

chart: ## package the Helm chart
	mkdir -p $(ARCHIVES)
	$(HELM) package $(CURDIR)/deploy/helm/fdi-operator --destination $(abspath $(ARCHIVES))

image: ## build the image with Docker, for this machine's platform
	docker buildx build --load --tag $(IMAGE):$(TAG) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

licences: ## the licence texts of what is linked into the operator
	mkdir -p $(ARCHIVES)
	$$(deploy/image/cargo-tool about) generate --locked --fail --config deploy/image/licences/about.toml \
		--output-file $(ARCHIVES)/THIRD-PARTY.txt deploy/image/licences/third-party.hbs

dependencies: ## licences, bans and sources of the dependencies; CI also checks advisories, which need another network
	$$(deploy/image/cargo-tool deny) --locked check licenses bans sources

image-archive: licences ## the same image as an archive for Docker, containerd and kind, without Docker
	cargo build --release --locked --package fdi-operator --bin fdi-operator
	$(call image_archive,$(RELEASE)/fdi-operator,$(IMAGE):$(TAG),$(ARCHIVES)/fdi-operator.tar,$(operator_image) $(LICENCES:%=--licences %))

simulator-archive: ## the simulator as an OCI archive, for the end-to-end tests
	cargo build --release --locked --package fdi-simulator --bin fdi-simulator
	$(call image_archive,$(RELEASE)/fdi-simulator,fdi-operator.test/fdi-simulator:e2e,$(ARCHIVES)/fdi-simulator.tar,)

test-deploy: ## check manifests, chart, image archive and permissions, also against a real API server
	go -C tests/deploy test -count=1 ./...

.PHONY: manifests chart image licences dependencies image-archive simulator-archive test-deploy
