//! One log line for each call: which tasks, for which groups, why, and what became of it.

use std::collections::BTreeSet;

use crate::crd::Trigger;
use crate::fdi::{Outcome, TaskId};
use crate::reconcile::context::Context;
use crate::reconcile::desired::Desired;
use crate::reconcile::ledger::Ledger;
use crate::reconcile::outcome::CompletedCall;

/// What a call is traced back to: what was desired, and known of its tasks, when it was planned.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    pub desired: &'a Desired,
    pub ledger: &'a Ledger,
}

impl Audit<'_> {
    /// Logs a call that ended. `target` is `audit`, so that these lines can be kept apart.
    pub fn log(&self, ctx: &Context, call: &CompletedCall) {
        let ids = call.batch.ids();
        let owners = || ids.iter().filter_map(|id| Some((self.desired.owner(id)?, id)));
        let groups: BTreeSet<&str> = owners().map(|(group, _)| group.name.as_str()).collect();
        let triggers: BTreeSet<Trigger> = owners().map(|(group, id)| self.ledger.trigger(group, id)).collect();
        let count = |wanted: fn(&Outcome) -> bool| call.outcomes().filter(|(_, outcome)| wanted(outcome)).count();
        let (result, code, request_id) = match &call.result {
            Ok(response) => ("ok", None, response.request_id.as_deref()),
            Err(error) => (error.class.as_str(), Some(error.code.as_str()), error.request_id.as_deref()),
        };
        tracing::info!(
            target: "audit",
            namespace = ctx.key.namespace,
            fdiinstance = ctx.key.name,
            fditaskgroups = joined(groups),
            task_ids = joined(ids.iter().map(TaskId::as_str)),
            action = call.batch.action().as_str(),
            trigger = joined(triggers.into_iter().map(Trigger::as_str)),
            result,
            code,
            accepted = call.accepted().count(),
            refused = count(|outcome| matches!(outcome, Outcome::Refused(_))),
            unknown = count(|outcome| *outcome == Outcome::Unknown),
            request_id,
            "call"
        );
    }
}

fn joined<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(",")
}
