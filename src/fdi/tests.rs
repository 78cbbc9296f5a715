//! The client as a whole: against the simulator, misbehaving servers and random bodies.

pub mod client;
pub mod examples;
mod fuzz;
mod known_pages;
pub mod scripted_server;
mod simulator;
mod waits;
