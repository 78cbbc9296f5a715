//! The operator on a real kube-apiserver against the simulated service. All tests share one control
//! plane; each has its own namespace. A test judges by the simulator's call log and by what the API
//! server stores, never by what the operator reports of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, clippy::match_wild_err_arm)]

mod architecture;
mod audit;
mod broken_watches;
mod bulkheads;
mod cleanup;
mod cli;
mod clock_steps;
mod convergence;
mod crash_sweep;
mod deletion;
mod docs;
mod failing_calls;
mod flood;
mod harness;
mod health;
mod identity;
mod instances;
mod leadership;
mod lost_answers;
mod ownership;
mod plan;
mod poison;
mod printed;
mod proof_page;
mod quotas;
mod rbac;
mod refused_writes;
mod resources;
mod restore;
mod runs;
mod scopes;
mod selection;
mod settling;
mod sign_in;
mod stale_views;
mod team;
mod timelines;
mod validation;
mod walks;
mod watches;
mod wording;
