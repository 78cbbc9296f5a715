//! The operator's clock, how long to wait after a failure, and CPU time.

pub mod backoff;
pub mod clock;
pub mod cpu;
pub mod moment;
