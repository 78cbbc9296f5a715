//! The simulator from outside: every documented wire example, sign-in, faults, control API and
//! sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod batches;
mod caller;
mod control;
mod corrupt_lists;
mod faults;
mod iam;
mod lists;
mod monitor;
mod program;
mod readme;
mod runs;
mod sign_in;
mod sockets;
mod throttling;
mod waiting;
