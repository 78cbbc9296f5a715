//! The shipped manifests on a real cluster, with kubectl and nothing else: `KUBECONFIG` says which,
//! and it must be the suite's own.
//!
//! `make e2e` runs it on a node without Docker, `make e2e-kind` on kind. The tests share the
//! cluster and the operator, so they run one after the other; each has a namespace and an instance
//! of its own and can be run alone.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod cluster;
mod correction;
mod install;
mod orders;
mod removal;
mod replicas;
mod rollout;
mod simulator;
mod upgrade;
