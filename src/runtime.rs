//! The life of the process, and the endpoints by which others see it.

pub mod health;
pub mod http_server;
pub mod process;
mod scrape;
pub mod termination;
