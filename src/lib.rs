//! fdi-operator keeps FDI tasks of Huawei Cloud ROMA Connect running or stopped, as `FdiTaskGroup` resources say.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod crd;
mod crd_check;
pub mod duplicates;
pub mod events;
pub mod fdi;
pub mod follow;
pub mod health;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod operator;
pub mod pass;
pub mod process;
pub mod sight;
pub mod telemetry;
pub mod timings;
pub mod watch;
pub mod worker;
