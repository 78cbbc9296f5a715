//! The status of the `FdiInstance` itself: signed in and listed, and every failed list at once.

use jiff::Timestamp;

use super::facts::count;
use super::ready::NOT_LISTED;
use super::report::InstanceReport;
use crate::crd::{
    Condition, ConditionStatus, FdiInstanceStatus, InstanceTasks, condition_types, event_actions, event_reasons,
    find_condition, messages, reasons,
};
use crate::k8s::events::EventType;
use crate::k8s::status_writer::update::StatusEvent;
use crate::reconcile::desired::{Desired, DesiredInstance};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::failure::Severity;
use crate::time::backoff::add;

pub(super) fn report(
    instance: &DesiredInstance,
    desired: &Desired,
    state: &InstanceState,
    managed: usize,
    now: Timestamp,
) -> InstanceReport {
    let before = &instance.status;
    let finish = |condition: Condition| Condition {
        observed_generation: instance.generation,
        ..condition.following(&before.conditions, now)
    };
    let conditions: Vec<Condition> = conditions(desired, state, now).into_iter().map(finish).collect();
    let tasks = state.observation.list().map(|list| InstanceTasks {
        total: count(list.total()),
        running: count(list.running()),
        managed: count(managed),
        unmanaged: count(list.total().saturating_sub(managed)),
    });
    let events = events(&before.conditions, &conditions[0]).into_iter().collect();
    let progress_only = conditions[0].status == ConditionStatus::Unknown;
    let status = FdiInstanceStatus {
        observed_generation: instance.generation,
        conditions,
        tasks: tasks.or(before.tasks),
        groups: Some(count(desired.groups().len())),
        last_handled_reconcile_at: instance.requested_at.clone().or_else(|| before.last_handled_reconcile_at.clone()),
    };
    InstanceReport { status, events, progress_only }
}

/// Ready first.
fn conditions(desired: &Desired, state: &InstanceState, now: Timestamp) -> Vec<Condition> {
    use ConditionStatus::{False, True, Unknown};
    use condition_types::{READY, RECONCILING, STALLED, SYNCED};
    let observation = &state.observation;
    if let Some(failure) = observation.list_failure() {
        let (reason, message) = (failure.error.reason(), failure.error.message());
        let stalled = failure.error.severity() == Severity::Rejected
            && now >= add(failure.reason_since, state.timings.rejected_grace);
        let progress = if stalled { STALLED } else { RECONCILING };
        return vec![
            Condition::new(READY, False, reason, message),
            Condition::new(SYNCED, False, reason, message),
            Condition::new(progress, True, reason, message),
        ];
    }
    if observation.list().is_none() {
        let not_observed = |type_, status| Condition::new(type_, status, reasons::NOT_OBSERVED, NOT_LISTED);
        return vec![not_observed(READY, Unknown), not_observed(SYNCED, Unknown), not_observed(RECONCILING, True)];
    }
    let message = if desired.instance_suspended() {
        "signed in and listed; suspended, so no call is sent: set spec.suspend to false to resume"
    } else {
        "signed in and listed"
    };
    let synced = match observation.call_failure() {
        Some(failure) => Condition::new(SYNCED, False, failure.error.reason(), failure.error.message()),
        None => Condition::new(SYNCED, True, reasons::SYNCED, messages::SYNCED),
    };
    vec![Condition::new(READY, True, reasons::SIGNED_IN, message), synced]
}

/// When time alone turns the failure into a stall.
pub(super) fn next_transition(state: &InstanceState, now: Timestamp) -> Option<Timestamp> {
    let timings = &state.timings;
    [state.observation.list_failure(), state.observation.call_failure()]
        .into_iter()
        .flatten()
        .flat_map(|failure| {
            [add(failure.reason_since, timings.rejected_grace), add(failure.started, timings.stale_grace)]
        })
        .filter(|&time| time > now)
        .min()
}

fn events(before: &[Condition], ready: &Condition) -> Option<StatusEvent> {
    let before = find_condition(before, condition_types::READY);
    if before.is_some_and(|before| before.status == ready.status && before.reason == ready.reason) {
        return None;
    }
    let (kind, reason) = match ready.status {
        ConditionStatus::True => (EventType::Normal, event_reasons::INSTANCE_READY),
        ConditionStatus::False => (EventType::Warning, event_reasons::INSTANCE_NOT_READY),
        ConditionStatus::Unknown => return None,
    };
    Some(StatusEvent { kind, reason, action: event_actions::OBSERVE, message: ready.message.clone().into_owned() })
}
