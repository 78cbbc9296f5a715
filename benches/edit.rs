//! An edit of a group, and the call that it causes.

use std::time::Duration;

use fdi_operator::crd::{DesiredState, FdiTaskGroup};
use fdi_simulator::Operation;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::support::Environment;

/// How long a call may take.
pub const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub struct Edited {
    pub sent: Instant,
    pub answered: Instant,
    /// When the service received the call, if within [`LONGEST`].
    pub called: Option<Instant>,
}

/// Sets the other state and waits for the call, the only one at this time for the instance.
pub async fn edit(env: &Environment, api: &Api<FdiTaskGroup>, name: &str, instance: &str) -> Edited {
    let stopped = matches!(api.get(name).await.unwrap().spec.desired_state, DesiredState::Stopped);
    let patch = Patch::Merge(json!({"spec": {"desiredState": if stopped { "Running" } else { "Stopped" }}}));
    let since = env.sim.last_seq();
    let sent = Instant::now();
    let answered = async {
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
        Instant::now()
    };
    let called = async {
        let call = env.sim.wait_for(LONGEST, |view| {
            let mut new = view.log().iter().rev().take_while(|entry| entry.seq > since);
            new.any(|entry| entry.operation == Operation::Batch && entry.instance.as_deref() == Some(instance))
                .then_some(())
        });
        call.await.ok().map(|()| Instant::now())
    };
    let (answered, called) = tokio::join!(answered, called);
    Edited { sent, answered, called }
}

/// The value below which that share of all values lies. Sorts them.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}
