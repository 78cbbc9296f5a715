//! The simulator as a program: for people, the demo, and tests that are not in Rust.
fn main() {}
