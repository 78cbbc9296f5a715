//! fdi-operator keeps FDI tasks of Huawei Cloud ROMA Connect running or stopped, as `FdiTaskGroup` resources say.
#![forbid(unsafe_code)]

pub mod crd;
pub mod fdi;
