//! Step 7: publishes the statuses, the finalizers and the events that go with them. Nothing here
//! waits for the API server.

use std::sync::Arc;

use tracing::Span;

use crate::crd::{FINALIZER, FdiInstance, event_actions, event_reasons};
use crate::k8s::events::EventType;
use crate::k8s::status_writer::update::{Finalizers, Object, Status, StatusEvent, Update};
use crate::reconcile::context::Context;
use crate::reconcile::desired::{Desired, FinalizerAction};
use crate::reconcile::status::Statuses;
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::status::report::{GroupReport, InstanceReport};

/// Returns whether the API server has all of it already.
pub fn write(ctx: &Context, desired: &Desired, statuses: &Statuses<'_>) -> bool {
    let instance = desired.instance().zip(statuses.instance());
    let mut updates: Vec<Update> = statuses.groups().iter().filter_map(|report| group_update(ctx, report)).collect();
    updates.extend(instance.and_then(|(instance, report)| instance_update(ctx, &instance.object, report)));
    let stored = updates.is_empty();
    ctx.writer.publish(updates);
    for report in statuses.groups() {
        for event in &report.actions {
            tracing::info!(fditaskgroups = report.group.name, reason = event.reason, "{}", event.message);
            ctx.events.emit(Object::group(&ctx.key, &report.group.object).event(event));
        }
    }
    stored
}

/// `None` where nothing is to be written.
fn instance_update(ctx: &Context, object: &FdiInstance, report: &InstanceReport) -> Option<Update> {
    let is_stored = object.status.as_ref() == Some(&report.status);
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    (!ctx.writer.has(uid, is_stored)).then(|| Update {
        object: Object::instance(&ctx.key, object),
        status: Some(Status::Instance(Box::new(report.status.clone()))),
        is_stored,
        events: report.events.clone(),
        finalizers: None,
        progress_only: report.progress_only,
        urgent: false,
        metrics: Arc::clone(&ctx.metrics),
        span: Span::current(),
    })
}

/// `None` where nothing is to be written.
fn group_update(ctx: &Context, report: &GroupReport<'_>) -> Option<Update> {
    let object = &*report.group.object;
    let finalizers = finalizers(report);
    let is_stored = object.status.as_ref() == Some(&report.status);
    if finalizers.is_none() && ctx.writer.has(&report.group.uid, is_stored) {
        return None;
    }
    let events = match &report.release {
        Some(FinalizerRelease::Abandoned(message)) => vec![StatusEvent {
            kind: EventType::Warning,
            reason: event_reasons::DELETION_GIVEN_UP,
            action: event_actions::DELETE,
            message: message.clone(),
        }],
        _ => report.events.clone(),
    };
    Some(Update {
        object: Object::group(&ctx.key, object),
        status: report.release.is_none().then(|| Status::Group(Arc::clone(&report.status))),
        is_stored,
        events,
        finalizers,
        progress_only: report.progress_only,
        urgent: report.urgent,
        metrics: Arc::clone(&ctx.metrics),
        span: Span::current(),
    })
}

fn finalizers(report: &GroupReport<'_>) -> Option<Box<Finalizers>> {
    let before = report.group.object.metadata.finalizers.clone();
    let mut after: Vec<String> = before.iter().flatten().filter(|name| *name != FINALIZER).cloned().collect();
    if report.release.is_none() {
        if report.group.finalizer != FinalizerAction::Add {
            return None;
        }
        after.push(FINALIZER.to_owned());
    }
    let abandoned = matches!(report.release, Some(FinalizerRelease::Abandoned(_)));
    Some(Box::new(Finalizers { before, after, abandoned }))
}
