//! fdi-operator keeps FDI tasks of Huawei Cloud ROMA Connect running or stopped, as `FdiTaskGroup` resources say.
#![forbid(unsafe_code)]

pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod crd;
pub mod events;
pub mod fdi;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod process;
pub mod telemetry;
pub mod timings;
