//! fdi-operator keeps FDI tasks of Huawei Cloud ROMA Connect running or stopped, as `FdiTaskGroup` resources say.
#![forbid(unsafe_code)]

pub mod clients;
pub mod clock;
pub mod config;
pub mod crd;
pub mod endpoints;
pub mod fdi;
pub mod lease;
pub mod telemetry;
pub mod timings;
