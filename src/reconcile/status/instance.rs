//! The status of the `FdiInstance` itself: signed in and listed, and every failed look at once.

use jiff::Timestamp;

use super::Note;
use super::group::int;
use crate::time::backoff::after;
use crate::crd::{Condition, ConditionStatus, FdiInstanceStatus, InstanceTasks, event_reasons, reasons, types};
use crate::reconcile::{Desired, InstanceWish};
use crate::reconcile::observation::{Severity, Sight};
use crate::reconcile::timings::Timings;

pub(super) fn report(
    instance: &InstanceWish,
    desired: &Desired,
    sight: &Sight,
    managed: usize,
    timings: &Timings,
    now: Timestamp,
) -> (FdiInstanceStatus, Vec<Note>) {
    let before = &instance.status;
    let condition = |type_: &str, status, reason: &str, message: &str| {
        Condition::new(type_, status, reason, message, instance.generation, &before.conditions, now)
    };
    let mut conditions = Vec::with_capacity(3);
    match (sight.trouble(), sight.view()) {
        (Some(trouble), _) => {
            let (reason, message) = (trouble.problem.reason(), trouble.problem.message());
            let stalled =
                trouble.problem.severity() == Severity::Refused && now >= after(trouble.since, timings.refused_grace);
            conditions.push(condition(types::READY, ConditionStatus::False, reason, message));
            conditions.push(condition(types::SYNCED, ConditionStatus::False, reason, message));
            let motion = if stalled { types::STALLED } else { types::RECONCILING };
            conditions.push(condition(motion, ConditionStatus::True, reason, message));
        }
        (None, None) => {
            let message = "the instance has not been looked at yet";
            conditions.push(condition(types::READY, ConditionStatus::Unknown, reasons::NOT_OBSERVED, message));
            conditions.push(condition(types::SYNCED, ConditionStatus::Unknown, reasons::NOT_OBSERVED, message));
            conditions.push(condition(types::RECONCILING, ConditionStatus::True, reasons::NOT_OBSERVED, message));
        }
        (None, Some(_)) => {
            let message = if desired.instance_suspended() {
                "signed in and listed; suspended, so no call is sent"
            } else {
                "signed in and listed"
            };
            conditions.push(condition(types::READY, ConditionStatus::True, reasons::SIGNED_IN, message));
            conditions.push(match sight.call_trouble() {
                Some(trouble) => condition(
                    types::SYNCED,
                    ConditionStatus::False,
                    trouble.problem.reason(),
                    trouble.problem.message(),
                ),
                None => condition(
                    types::SYNCED,
                    ConditionStatus::True,
                    reasons::SYNCED,
                    "the last exchange with FDI worked",
                ),
            });
        }
    }
    let tasks = sight.view().map(|view| InstanceTasks {
        total: int(view.total()),
        running: int(view.running()),
        managed: int(managed),
    });
    let notes = notes(&before.conditions, &conditions[0]);
    let status = FdiInstanceStatus {
        observed_generation: instance.generation,
        conditions,
        tasks: tasks.or(before.tasks),
        groups: Some(int(desired.groups().len())),
        last_handled_reconcile_at: instance.requested_at.clone().or_else(|| before.last_handled_reconcile_at.clone()),
    };
    (status, notes)
}

/// When time alone makes the trouble a stall.
pub(super) fn next_row(sight: &Sight, timings: &Timings, now: Timestamp) -> Option<Timestamp> {
    [sight.trouble(), sight.call_trouble()]
        .into_iter()
        .flatten()
        .flat_map(|trouble| [after(trouble.since, timings.refused_grace), after(trouble.first, timings.stale_grace)])
        .filter(|&time| time > now)
        .min()
}

fn notes(before: &[Condition], ready: &Condition) -> Vec<Note> {
    let unchanged =
        before.iter().any(|c| c.type_ == types::READY && c.status == ready.status && c.reason == ready.reason);
    let (warning, reason) = match ready.status {
        _ if unchanged => return Vec::new(),
        ConditionStatus::True => (false, event_reasons::INSTANCE_READY),
        ConditionStatus::False => (true, event_reasons::INSTANCE_TROUBLE),
        ConditionStatus::Unknown => return Vec::new(),
    };
    vec![Note { warning, reason, action: "Observe", text: ready.message.clone() }]
}
