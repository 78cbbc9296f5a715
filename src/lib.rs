//! fdi-operator keeps FDI tasks of Huawei Cloud ROMA Connect running or stopped, as `FdiTaskGroup`
//! resources say.
//!
//! ```text
//!  FdiInstances, FdiTaskGroups ──watch──▶ store ──changed──▶ worker of each instance
//!                                                               │
//!   ┌──────────────────────────── one reconcile ────────────────┴──────────────────────────────┐
//!   │ desired    observe    plan     execute     status      schedule     write                 │
//!   │ (pure)     (I/O)      (pure)   (I/O)       (pure)      (pure)       (I/O)                 │
//!   │ Desired ─┬──────────▶ Plan ──▶ Outcomes ─▶ Statuses ─▶ next time ─▶ statuses, finalizers, │
//!   │ Observed ┘            (calls of ≤ 10 tasks)                         events                │
//!   └───────────────────────────────────────────────────────────────────────────────────────────┘
//!          InstanceState: what is remembered between reconciles (observation, ledger)
//! ```
//!
//! Each layer uses only those below it (`tests/it/architecture.rs` holds that):
//!
//! | Module | What it does |
//! |---|---|
//! | [`cli`] | one file for each sub-command |
//! | `controller` | watches, and a worker for each instance once this process leads |
//! | `runtime` | the life of the process: what runs beside what, health endpoints, shutdown |
//! | [`config`] | a plain value, and the flags that make it |
//! | `reconcile` | the seven steps, and what is remembered between them |
//! | `k8s` | everything that talks to the API server: watches, store, events, leader election |
//! | [`crd`], `metrics` | the two kinds and their vocabulary; what Prometheus reads |
//! | `fdi`, `time`, `telemetry` | the FDI client, which knows nothing of Kubernetes; clock and back-off; logs |
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
mod controller;
pub mod crd;
mod fdi;
mod k8s;
mod metrics;
mod reconcile;
mod runtime;
mod telemetry;
#[cfg(test)]
mod tests;
mod time;

/// What the tests and benches in this repository start the operator with. Not an interface.
#[doc(hidden)]
pub mod testing {
    pub use crate::controller::run as control;
    pub use crate::fdi::FdiConfig;
    pub use crate::k8s::clients::KubeClients;
    pub use crate::reconcile::pure_steps::{Chosen, PureSteps};
    pub use crate::reconcile::timings::Timings;
    pub use crate::runtime::process::{Listeners, Runtime, run};
    pub use crate::time::backoff::Backoff;
}

/// What the fuzzer calls (`tests/fuzz`): each takes any bytes, and panics if the operator does
/// something wrong with them.
#[cfg(fuzzing)]
pub mod fuzz {
    pub use crate::cli::manifests;
    pub use crate::fdi::fuzz::response;
    pub use crate::k8s::leader_election::fuzz::lease;
    pub use crate::reconcile::selection::fuzz::selector;
}
