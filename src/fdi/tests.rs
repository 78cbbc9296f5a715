//! The client as a whole: against the simulator, against servers that misbehave, and against random bodies.

mod fuzz;
pub(crate) mod scripted_server;
mod simulator;
