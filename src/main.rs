//! The `fdi-operator` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// The lists of a start are many and short-lived, and glibc keeps the room they took (docs/decisions.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // The one TLS provider of the process; it fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    fdi_operator::cli::main()
}
