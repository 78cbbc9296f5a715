//! Step 7: publishes the statuses, the finalizers and the events that go with them. Nothing here
//! waits for the API server.

use std::sync::Arc;

use kube::Resource;

use crate::crd::{FINALIZER, event_actions, event_reasons};
use crate::k8s::events::{Event, EventType};
use crate::k8s::status_writer::update::{Finalizers, Kind, Object, Status, Update};
use crate::reconcile::context::Context;
use crate::reconcile::desired::{Desired, FinalizerAction};
use crate::reconcile::status::Statuses;
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::status::report::{GroupReport, StatusEvent};

pub fn write(ctx: &Context, desired: &Desired, statuses: &Statuses<'_>) {
    let instance = desired.instance().zip(statuses.instance()).map(|(instance, report)| {
        let object = &*instance.object;
        Update {
            object: Object::of(Kind::Instance, object),
            stored: Status::Instance(Box::new(object.status.clone().unwrap_or_default())),
            status: Some(Status::Instance(Box::new(report.status.clone()))),
            events: report.events.iter().map(|event| as_event(object, event)).collect(),
            finalizers: None,
            progress_only: report.progress_only,
            urgent: false,
            metrics: Arc::clone(&ctx.metrics),
        }
    });
    let groups = statuses.groups().iter().map(|report| group_update(ctx, report));
    ctx.writer.publish(groups.chain(instance));
    for report in statuses.groups() {
        for event in &report.actions {
            tracing::info!(fditaskgroup = report.group.name, reason = event.reason, "{}", event.message);
            ctx.events.emit(as_event(&*report.group.object, event));
        }
    }
}

fn group_update(ctx: &Context, report: &GroupReport<'_>) -> Update {
    let object = &*report.group.object;
    let mut events: Vec<Event> = report.events.iter().map(|event| as_event(object, event)).collect();
    let status = report.release.is_none().then(|| Status::Group(Box::new(report.status.clone())));
    if let Some(FinalizerRelease::Abandoned(message)) = &report.release {
        events = vec![as_event(
            object,
            &StatusEvent {
                kind: EventType::Warning,
                reason: event_reasons::DELETION_GIVEN_UP,
                action: event_actions::DELETE,
                message: message.clone(),
            },
        )];
    }
    Update {
        object: Object::of(Kind::Group, object),
        stored: Status::Group(Box::new(object.status.clone().unwrap_or_default())),
        status,
        events,
        finalizers: finalizers(report),
        progress_only: report.progress_only,
        urgent: report.urgent,
        metrics: Arc::clone(&ctx.metrics),
    }
}

fn finalizers(report: &GroupReport<'_>) -> Option<Finalizers> {
    let before = report.group.object.metadata.finalizers.clone();
    let mut after: Vec<String> = before.iter().flatten().filter(|name| *name != FINALIZER).cloned().collect();
    if report.release.is_none() {
        if report.group.finalizer != FinalizerAction::Add {
            return None;
        }
        after.push(FINALIZER.to_owned());
    }
    let abandoned = matches!(report.release, Some(FinalizerRelease::Abandoned(_)));
    Some(Finalizers { before, after, abandoned })
}

fn as_event<K: Resource<DynamicType = ()>>(object: &K, event: &StatusEvent) -> Event {
    Event {
        regarding: object.object_ref(&()),
        kind: event.kind,
        reason: event.reason,
        action: event.action,
        note: event.message.clone(),
    }
}
