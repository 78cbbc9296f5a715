//! Leader election with a Lease, and the permission to act that comes from it.
//!
//! The rules are those of Kubernetes' own controllers, on the monotonic clock:
//! * a leader may act until `renew_deadline` after the moment *before* its last successful renewal was sent;
//! * others wait until they have *seen* no change for the Lease's whole duration, counted from when they received the answer;
//! * every write carries the version that was seen (PUT with `resourceVersion`), so of two writers one gets a conflict.
//!
//! Since the duration is longer than the deadline, the old permit has ended before a new one can begin, whatever the wall
//! clocks say. There is no fencing at FDI: a call that already left is not called back. That is why calls in flight are dropped
//! at the deadline, and the margin (5 s) is what they have to arrive.

mod elect;
mod permit;
#[cfg(test)]
mod simulated;
mod view;

pub use elect::{Ended, Lost, elect};
pub use permit::{Expired, Leadership, Permit, Seat};
