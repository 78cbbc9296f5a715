//! The `fdi-operator` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A start allocates many short-lived lists, and glibc keeps their memory (docs/decisions.md).
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // The only TLS provider of the process; it fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    fdi_operator::cli::main()
}
