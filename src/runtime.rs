//! The life of the process, and the endpoints by which others see it.

pub mod health;
pub mod process;
