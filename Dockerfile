# syntax=docker/dockerfile:1
# Several platforms:  docker buildx build --platform linux/amd64,linux/arm64 -t NAME:TAG .
# The compiler runs on the machine's own platform and builds for the wanted one: emulated, the build would take an hour.
# Without Docker: make image-archive (deploy/image/archive.py) makes the same root file system.
ARG RUST_VERSION=1.95.0

FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm AS toolchain
ARG RUST_VERSION
ARG CARGO_CHEF_VERSION=0.1.78
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The compiler for the platform that this machine is not; Debian has no cross compiler for the machine's own. make is for jemalloc.
RUN case "$(dpkg --print-architecture)" in \
      amd64) other="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      arm64) other="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
      *) echo "no build on $(dpkg --print-architecture)" >&2; exit 1 ;; \
    esac \
 && apt-get update \
 && apt-get install --yes --no-install-recommends make ${other} \
 && rm -rf /var/lib/apt/lists/*
# The image has the toolchain of rust-toolchain.toml already; that file would make rustup fetch more of it.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION} \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    CC_x86_64_unknown_linux_gnu=x86_64-linux-gnu-gcc
# arm64 kernels have pages of 4, 16 or 64 KiB, and jemalloc ends at once where they are larger than what it was built for.
ENV AARCH64_UNKNOWN_LINUX_GNU_JEMALLOC_SYS_WITH_LG_PAGE=16
RUN rustup target add aarch64-unknown-linux-gnu x86_64-unknown-linux-gnu \
 && cargo install cargo-chef --locked --version ${CARGO_CHEF_VERSION}
WORKDIR /build

FROM toolchain AS recipe
COPY . .
RUN cargo chef prepare --bin fdi-operator --recipe-path recipe.json

FROM toolchain AS build
ARG TARGETARCH
RUN case "${TARGETARCH}" in \
      amd64) echo x86_64-unknown-linux-gnu ;; \
      arm64) echo aarch64-unknown-linux-gnu ;; \
      *) echo "no build for ${TARGETARCH}" >&2; exit 1 ;; \
    esac > /target
COPY --from=recipe /build/recipe.json .
# The dependencies are a layer of their own: a change of the operator alone does not build them again.
RUN cargo chef cook --release --locked --package fdi-operator --target "$(cat /target)" --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package fdi-operator --bin fdi-operator --target "$(cat /target)" \
 && install -D "target/$(cat /target)/release/fdi-operator" /out/fdi-operator

# glibc, libgcc, CA certificates, the user nonroot (65532), and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fdi-operator" \
      org.opencontainers.image.description="Kubernetes operator that keeps Huawei Cloud ROMA Connect FDI tasks running or stopped" \
      org.opencontainers.image.source="https://github.com/fdi-operator/fdi-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chmod=0755 /out/fdi-operator /usr/local/bin/fdi-operator
USER 65532:65532
WORKDIR /home/nonroot
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/fdi-operator"]
CMD ["run"]
