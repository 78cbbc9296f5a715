//! A simulator of the FDI task API of ROMA Connect and of the IAM token API: a real HTTP server
//! that the operator is tested against. Its call log is the oracle of all tests.
//!
//! ```text
//!  request ─▶ server ─▶ service ─▶ perform: sign_in ─▶ fdi | iam ─▶ wire ─▶ answer
//!             (sockets)  (faults)              (policies, manners)
//!                            └── log: every request, in order of arrival
//! ```
//!
//! * [`Simulator`] is the running server, [`Handle`] its controls (and the same without sockets),
//!   [`InstanceHandle`] those of one instance.
//! * [`Policies`] choose where the service's documentation is silent.
//! * A [`Manner`] says how one task behaves; a [`Fault`], what goes wrong between service and
//!   caller.
//! * An [`Entry`] of the call log records what arrived, what was done and what was answered.
#![forbid(unsafe_code)]

mod batch;
mod blackhole;
mod clock;
mod control;
mod corrupt_responses;
mod count;
mod fault;
mod fdi;
mod handle;
mod iam;
mod instance;
mod list;
mod log;
mod monitor;
mod perform;
mod policy;
mod preset;
mod route;
mod server;
mod service;
mod sign_in;
pub mod signature;
mod simulator;
mod task;
mod tls;
mod wire;
mod world;

pub use blackhole::Blackhole;
pub use clock::{Clock, Millis};
pub use fault::{ActiveFault, Effect, Fault, Trigger};
pub use handle::{Handle, TimedOut, View};
pub use instance::{InstanceHandle, UnknownTask};
pub use log::{Counts, Entry, Filter, Identity, ListedTask, Operation, Told};
pub use policy::{
    AlreadyThere, ApplyBeforeError, DuplicateIds, ErrorShape, JudgedState, MissingPlan, MonitorFields, MonitorOffset,
    MonitorOrder, Monitoring, NameFilter, NonArrayList, NonObjectItems, Policies, SignIn, SignInErrors, TerminateIdle,
    UnknownId, UnknownInstance, WrongProject,
};
pub use preset::{Preset, PresetInstance, PresetToken};
pub use server::Cut;
pub use service::{Delivery, Reply};
pub use sign_in::{AccessKey, User, UserState};
pub use simulator::{Options, Simulator, StartError};
pub use task::{Action, LastRun, Manner, NewTasks, Pending, Task, TaskMode, TaskRun, TaskType};
pub use tls::Certificate;
pub use wire::{Refusal, Speaker};
