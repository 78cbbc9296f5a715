//! The operator's clock, and how long to wait after a failure.

pub mod backoff;
pub mod clock;
pub mod moment;
