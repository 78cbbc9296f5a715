//! What is remembered about one instance between passes: the last complete list, and why looks or calls do not work. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::time::backoff::{after, doubling, jittered, slow_start};
use crate::crd::reasons;
use crate::fdi::{CallError, Cause, Class, Fingerprint, RunState, Task, TaskId};
use crate::reconcile::Desired;
use crate::reconcile::timings::Timings;

/// A complete list of the tasks of an instance.
#[derive(Debug, Clone)]
pub struct View {
    /// When the list was asked for: what happened before is in it, what happened later may not be.
    pub requested: Timestamp,
    /// By ID.
    tasks: Box<[Task]>,
}

impl View {
    pub fn new(requested: Timestamp, mut tasks: Vec<Task>) -> Self {
        tasks.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Self { requested, tasks: tasks.into_boxed_slice() }
    }

    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.binary_search_by(|task| task.id.cmp(id)).ok().map(|place| &self.tasks[place])
    }

    pub fn total(&self) -> usize {
        self.tasks.len()
    }

    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|task| task.state == RunState::Running).count()
    }
}

/// Why an instance cannot be looked at, or not be sent calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The groups refer to an `FdiInstance` that does not exist.
    InstanceNotFound,
    SpecInvalid(String),
    SecretNotFound(String),
    SecretInvalid(String),
    /// The API server did not give us the Secret (forbidden, or away).
    SecretUnreadable(String),
    /// Another, older `FdiInstance` serves the same ROMA instance.
    Duplicate(String),
    Call(CallError),
}

/// What kind of trouble it is, which decides the row of the condition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Row 2: something that is referred to is missing; said at once.
    Missing,
    /// Row 3: the instance cannot serve; said when it lasts.
    Refused,
    /// Row 4: no answer for now.
    Passing,
}

impl Problem {
    /// The reason as conditions show it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InstanceNotFound => reasons::INSTANCE_NOT_FOUND,
            Self::SpecInvalid(_) => reasons::SPEC_INVALID,
            Self::SecretNotFound(_) => reasons::SECRET_NOT_FOUND,
            Self::SecretInvalid(_) => reasons::SECRET_INVALID,
            Self::SecretUnreadable(_) => reasons::SECRET_UNREADABLE,
            Self::Duplicate(_) => reasons::DUPLICATE_INSTANCE,
            Self::Call(error) => error.cause.as_str(),
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::InstanceNotFound => "there is no such FdiInstance in this namespace: create it, or correct the name",
            Self::SpecInvalid(message)
            | Self::SecretNotFound(message)
            | Self::SecretInvalid(message)
            | Self::SecretUnreadable(message)
            | Self::Duplicate(message) => message,
            Self::Call(error) => &error.message,
        }
    }

    pub fn severity(&self) -> Severity {
        match self {
            Self::InstanceNotFound | Self::SecretNotFound(_) | Self::SecretInvalid(_) => Severity::Missing,
            Self::SpecInvalid(_) | Self::Duplicate(_) => Severity::Refused,
            Self::SecretUnreadable(_) => Severity::Passing,
            Self::Call(error) => match error.class {
                Class::SignIn | Class::Config | Class::Split | Class::SplitOnce => Severity::Refused,
                Class::Throttled | Class::Unavailable => Severity::Passing,
            },
        }
    }

    /// True when only a change of the Secret, the instance or the operator's configuration can help.
    fn waits_for_a_change(&self) -> bool {
        self.severity() != Severity::Passing
    }
}

/// A problem with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub problem: Problem,
    /// Since when the reason has been the same.
    pub since: Timestamp,
    /// When the first failure of this streak happened, whatever its reason.
    pub first: Timestamp,
    /// How many times in a row.
    pub times: u32,
    /// Not tried again before this.
    pub until: Timestamp,
}

/// The memory of one instance.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    view: Option<View>,
    looks: Option<Trouble>,
    calls: Option<Trouble>,
    sent: Option<Timestamp>,
    fingerprint: Option<Fingerprint>,
    /// The `FdiInstance` as last seen: its uid, and what an edit or a request changes.
    instance: Option<(String, i64, Option<String>)>,
    /// Requests that no status has echoed yet, and when they were first seen.
    asked: Option<(Vec<String>, Timestamp)>,
}

impl Sight {
    /// The last complete list, however old.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Why looks fail at present.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.looks.as_ref()
    }

    /// Why calls cannot be sent at present.
    pub fn call_trouble(&self) -> Option<&Trouble> {
        self.calls.as_ref()
    }

    /// True when the last list is young enough and nothing was sent since.
    pub fn fresh(&self, now: Timestamp, timings: &Timings) -> bool {
        self.looks.is_none()
            && self.view.as_ref().is_some_and(|view| {
                let covers = |moment: Timestamp| view.requested >= moment;
                now < after(view.requested, timings.fresh_list)
                    && self.sent.is_none_or(covers)
                    && self.asked.as_ref().is_none_or(|(_, asked)| covers(*asked))
            })
    }

    /// Until when no look is due because of trouble.
    pub fn look_barred(&self, now: Timestamp) -> Option<Timestamp> {
        self.looks.as_ref().map(|trouble| trouble.until).filter(|&until| now < until)
    }

    /// True while no call may be sent.
    pub fn calls_barred(&self, now: Timestamp) -> bool {
        self.looks.is_some() || self.calls.as_ref().is_some_and(|trouble| now < trouble.until)
    }

    /// A list arrived: looks work again. Trouble with calls is not over by that.
    pub fn saw(&mut self, view: View) {
        self.view = Some(view);
        self.looks = None;
    }

    /// A look failed.
    pub fn look_failed(&mut self, problem: Problem, now: Timestamp, timings: &Timings) {
        self.looks = Some(next(self.looks.as_ref(), problem, now, timings));
    }

    /// Takes note of the instance: an edit or `requestedAt` ends its waits.
    pub fn greet(&mut self, desired: &Desired, now: Timestamp) {
        // A request is answered by a look of its own, however young the last list is.
        let requests = desired.unanswered_requests();
        match &self.asked {
            _ if requests.is_empty() => self.asked = None,
            Some((known, _)) if *known == requests => {}
            _ => self.asked = Some((requests, now)),
        }
        let seen = desired.instance().map(|instance| {
            let uid = instance.object.metadata.uid.clone().unwrap_or_default();
            (uid, instance.generation, instance.requested_at.clone())
        });
        if self.instance == seen {
            return;
        }
        let uid = |seen: &Option<(String, i64, Option<String>)>| seen.as_ref().map(|(uid, ..)| uid.clone());
        if self.instance.is_some() && uid(&self.instance) != uid(&seen) {
            // What is known is about another ROMA instance than the next object of this name will mean.
            (self.view, self.looks, self.calls, self.sent) = (None, None, None, None);
        }
        self.instance = seen;
        for trouble in [&mut self.looks, &mut self.calls].into_iter().flatten() {
            trouble.until = trouble.until.min(now);
        }
    }

    /// The credential in use. A changed one clears what waited for a change.
    pub fn credential(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        if self.fingerprint.replace(fingerprint) == Some(fingerprint) {
            return;
        }
        for trouble in [&mut self.looks, &mut self.calls].into_iter().flatten() {
            if trouble.problem.waits_for_a_change() {
                trouble.until = trouble.until.min(now);
            }
        }
    }

    /// A list that was asked for after the last call shows that no call is needed: trouble with calls is over.
    pub fn no_call_needed(&mut self) {
        if self.sent.is_none_or(|sent| self.view.as_ref().is_some_and(|view| view.requested >= sent)) {
            self.calls = None;
        }
    }

    /// A call was answered per task, or refused for a task in it: calls work.
    pub fn call_answered(&mut self, ended: Timestamp) {
        self.call_ended(ended);
        self.calls = None;
    }

    /// A call was sent; the last list is older than what it did.
    pub fn call_ended(&mut self, ended: Timestamp) {
        self.sent = Some(ended);
    }

    /// A call failed for a cause that concerns the whole instance.
    pub fn call_failed(&mut self, error: CallError, now: Timestamp, timings: &Timings) {
        self.sent = Some(now);
        if error.class == Class::Throttled {
            // The pause holds for lists too: the limit is the instance's.
            self.looks = Some(next(self.looks.as_ref(), Problem::Call(error.clone()), now, timings));
        }
        self.calls = Some(next(self.calls.as_ref(), Problem::Call(error), now, timings));
    }
}

fn next(previous: Option<&Trouble>, problem: Problem, now: Timestamp, timings: &Timings) -> Trouble {
    let same = previous.filter(|trouble| trouble.problem.reason() == problem.reason());
    let times = previous.map_or(0, |trouble| trouble.times) + 1;
    let first = previous.map_or(now, |trouble| trouble.first);
    let wait = match &problem {
        Problem::Call(error) => call_wait(error, same.map_or(1, |trouble| trouble.times + 1), first, now, timings),
        Problem::SecretUnreadable(_) => slow_start(first, now, timings),
        // Nothing is asked of the service: only the cluster is read again, a little more often than promised.
        _ => timings.secret_reread.mul_f64(0.8),
    };
    // Where the service itself named the wait, not a moment sooner.
    let named = matches!(&problem, Problem::Call(error) if error.retry_after.is_some());
    let until = after(now, if named { jittered(wait).max(wait) } else { jittered(wait) });
    Trouble { problem, since: same.map_or(now, |trouble| trouble.since), first, times, until }
}

fn call_wait(error: &CallError, times: u32, first: Timestamp, now: Timestamp, timings: &Timings) -> Duration {
    match (error.class, error.cause) {
        // The credential keeps its own back-off and counts refusals; asking it again costs nothing while it is barred.
        (Class::SignIn, _) => error.retry_after.unwrap_or(timings.backoff_base).max(timings.backoff_base),
        (Class::Throttled, _) => error.retry_after.unwrap_or_else(|| doubling(times, timings)).min(timings.backoff_max),
        (Class::Unavailable, _) => slow_start(first, now, timings),
        (_, Cause::EndpointNotAllowed) => timings.secret_reread,
        (Class::Config | Class::Split | Class::SplitOnce, _) => doubling(times, timings),
    }
}
