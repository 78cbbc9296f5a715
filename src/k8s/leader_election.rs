//! Leader election with a Lease, and the [`Permit`] that comes from it.
//!
//! The rules are those of Kubernetes' own controllers, on clocks that nobody sets:
//! * a leader may act until `renew_deadline` after the moment *before* its last successful renewal
//!   was sent;
//! * others wait until they have *seen* no change for the whole duration of the Lease, counted from
//!   when they received the response;
//! * every write carries the version that was seen (PUT with `resourceVersion`), so of two writers
//!   one gets a conflict.
//!
//! Since the duration is longer than the deadline, the old permit has expired before a new one can
//! begin, whatever the wall clocks say. FDI has no fencing: a call that was sent cannot be revoked.
//! That is why calls in flight are dropped at the deadline; the margin (5 s) is the time they have
//! to arrive.

mod elector;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod permit;
mod record;
#[cfg(test)]
mod tests;

pub use elector::{ElectionResult, Lost, Params, elect};
pub use permit::{Leadership, Permit};
