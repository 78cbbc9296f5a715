# syntax=docker/dockerfile:1@sha256:87999aa3d42bdc6bea60565083ee17e86d1f3339802f543c0d03998580f9cb89
# Several platforms: docker buildx build --platform linux/amd64,linux/arm64 -t NAME:TAG .
# The compiler runs on the platform of the machine and cross-compiles; emulated, the build would
# take an hour. Without Docker, `make image-archive` makes the same root file system.
# Base images are pinned by digest; Dependabot updates tag and digest together.
ARG RUST_VERSION=1.95.0

FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS toolchain
ARG RUST_VERSION
ARG CARGO_CHEF_VERSION=0.1.78
ARG CARGO_AUDITABLE_VERSION=0.7.7
ARG CARGO_ABOUT_VERSION=0.9.3
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The cross compiler for the other platform; Debian has none for the machine's own. jemalloc needs
# make.
RUN case "$(dpkg --print-architecture)" in \
      amd64) other="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      arm64) other="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
      *) echo "no build on $(dpkg --print-architecture)" >&2; exit 1 ;; \
    esac \
 && apt-get update \
 && apt-get install --yes --no-install-recommends make ${other} \
 && rm -rf /var/lib/apt/lists/*
# The image already has the toolchain of rust-toolchain.toml; that file would make rustup download
# more of it.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION} \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    CC_x86_64_unknown_linux_gnu=x86_64-linux-gnu-gcc
# arm64 kernels have pages of 4, 16 or 64 KiB. jemalloc aborts where they are larger than it was
# built for.
ENV AARCH64_UNKNOWN_LINUX_GNU_JEMALLOC_SYS_WITH_LG_PAGE=16
RUN rustup target add aarch64-unknown-linux-gnu x86_64-unknown-linux-gnu \
 && cargo install cargo-chef --locked --version ${CARGO_CHEF_VERSION} \
 && cargo install cargo-auditable --locked --version ${CARGO_AUDITABLE_VERSION} \
 && cargo install cargo-about --locked --version ${CARGO_ABOUT_VERSION} --features cli
WORKDIR /build

FROM toolchain AS recipe
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# Every dependency, and an empty file for every target of the workspace. Sources do not change this
# layer.
FROM toolchain AS dependencies
ARG TARGETARCH
RUN case "${TARGETARCH}" in \
      amd64) echo x86_64-unknown-linux-gnu ;; \
      arm64) echo aarch64-unknown-linux-gnu ;; \
      *) echo "no build for ${TARGETARCH}" >&2; exit 1 ;; \
    esac > /target
COPY --from=recipe /build/recipe.json .
RUN cargo chef cook --release --locked --package fdi-operator --target "$(cat /target)" --recipe-path recipe.json

# Nothing of tests/ and benches/ but the manifests, so that a change there does not compile the
# operator again. cargo auditable stores the list of dependencies in the binary, where scanners and
# SBOM tools find it.
FROM dependencies AS build
COPY Cargo.toml Cargo.lock build.rs ./
COPY tests/controlplane/Cargo.toml tests/controlplane/
COPY tests/e2e/Cargo.toml tests/e2e/
COPY tests/simulator/Cargo.toml tests/simulator/
COPY crds crds
COPY src src
# The build has no repository to read the commit from.
ARG REVISION=unknown
ENV FDI_OPERATOR_REVISION=${REVISION}
RUN cargo auditable build --release --locked --package fdi-operator --bin fdi-operator --target "$(cat /target)" \
 && install -D "target/$(cat /target)/release/fdi-operator" /out/fdi-operator

FROM dependencies AS licences
COPY Cargo.toml Cargo.lock ./
COPY tests/controlplane/Cargo.toml tests/controlplane/
COPY tests/e2e/Cargo.toml tests/e2e/
COPY tests/simulator/Cargo.toml tests/simulator/
COPY deploy/image/licences deploy/image/licences
RUN cargo about generate --locked --fail --config deploy/image/licences/about.toml \
      --output-file /THIRD-PARTY.txt deploy/image/licences/third-party.hbs

# glibc, libgcc, CA certificates, the user nonroot (65532), and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fdi-operator" \
      org.opencontainers.image.description="Kubernetes operator that keeps Huawei Cloud ROMA Connect FDI tasks running or stopped" \
      org.opencontainers.image.source="https://github.com/fdi-operator/fdi-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chmod=0755 /out/fdi-operator /usr/local/bin/fdi-operator
COPY --chmod=0644 LICENSE /licenses/
COPY --from=licences --chmod=0644 /THIRD-PARTY.txt /licenses/
USER 65532:65532
WORKDIR /home/nonroot
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/fdi-operator"]
CMD ["run"]
