//! One simulated task: its switch, its runs, and its manners.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::Millis;
use crate::policy::Policies;

mod fields;
mod manner;
mod new_tasks;
mod runs;

pub use fields::{Action, LastRun, TaskMode, TaskType};
pub use manner::Manner;
pub(crate) use manner::Objection;
pub use new_tasks::NewTasks;
pub use runs::TaskRun;
pub(crate) use runs::code_of;
use runs::{MAX_RUNS, Runs};

/// One task as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    pub id: Arc<str>,
    pub name: String,
    #[serde(rename = "task_type")]
    pub kind: TaskType,
    pub mode: TaskMode,
    /// The switch as lists show it now.
    pub running: bool,
    pub last_run: LastRun,
    pub created_at: Millis,
    pub modified_at: Millis,
    pub source_datasource_id: String,
    pub target_datasource_id: String,
    pub source_app_id: String,
    pub target_app_id: String,
    pub task_tag: Option<String>,
    pub manners: Vec<Manner>,
    /// An accepted command that lists do not show yet.
    pub pending: Option<Pending>,
    /// Every change of the switch, oldest first: what lagging lists show.
    #[serde(skip)]
    history: Vec<(Millis, bool)>,
    #[serde(skip)]
    flap_from: Millis,
    /// The monitor log. Its newest run that began is the one that `last_run` describes.
    #[serde(skip)]
    runs: Runs,
    /// When the run ends that `RunTask` began.
    #[serde(skip)]
    run_ends_at: Option<Millis>,
    /// When the next run of [`Manner::FailsRuns`] is due.
    #[serde(skip)]
    next_run_at: Option<Millis>,
}

/// A switch that will change at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pending {
    pub running: bool,
    pub at: Millis,
}

impl Task {
    pub(crate) fn new(id: Arc<str>, name: String, new: &NewTasks, now: Millis) -> Self {
        let mut task = Self {
            id,
            name,
            kind: new.task_type,
            mode: new.mode,
            running: new.running,
            last_run: LastRun::default(),
            created_at: now,
            modified_at: now,
            source_datasource_id: new.source_datasource_id.clone(),
            target_datasource_id: new.target_datasource_id.clone(),
            source_app_id: new.source_app_id.clone(),
            target_app_id: new.target_app_id.clone(),
            task_tag: new.task_tag.clone(),
            manners: Vec::new(),
            pending: None,
            history: vec![(now, new.running)],
            flap_from: now,
            runs: Runs::default(),
            run_ends_at: None,
            next_run_at: None,
        };
        task.set_last_run(new.last_run, None, now);
        task.set_manners(new.manners.clone(), now);
        task
    }

    /// The state it is in or on its way to.
    pub fn target(&self) -> bool {
        self.pending.map_or(self.running, |pending| pending.running)
    }

    /// Does everything that is due by `now`.
    pub(crate) fn settle(&mut self, now: Millis, policies: &Policies) {
        if let Some(pending) = self.pending.filter(|pending| pending.at <= now) {
            self.pending = None;
            self.switch(pending.running, pending.at, policies);
        }
        if let Some(every) = self.flaps_every() {
            let flips = (now - self.flap_from) / every;
            if flips > 0 {
                let last = self.flap_from + flips * every;
                if flips % 2 == 1 {
                    self.switch(!self.running, last, policies);
                }
                self.flap_from = last;
            }
        }
        if let Some(at) = self.run_ends_at.filter(|at| *at <= now) {
            self.run_ends_at = None;
            self.end_run(at);
        }
        while let Some(at) = self.next_run_at.filter(|at| *at <= now) {
            self.run_by_schedule(at, now);
        }
    }

    /// When something will next change by itself.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        let flap = self.flaps_every().map(|every| self.flap_from + every);
        [self.pending.map(|pending| pending.at), flap, self.run_ends_at, self.next_run_at].into_iter().flatten().min()
    }

    /// Accepts a command.
    pub(crate) fn command(&mut self, running: bool, now: Millis, policies: &Policies) {
        if self.manners.contains(&Manner::NeverSettles) || self.target() == running {
            return;
        }
        let own = self.manners.iter().find_map(|manner| match manner {
            Manner::SettlesAfter { ms } => Some(*ms),
            _ => None,
        });
        let delay = Millis::try_from(own.unwrap_or(policies.settle_ms)).unwrap_or(Millis::MAX / 2);
        self.pending = Some(Pending { running, at: now + delay });
        self.settle(now, policies);
    }

    /// Changes the switch at once, as a person at the console would.
    pub(crate) fn switch(&mut self, running: bool, at: Millis, policies: &Policies) {
        self.pending = None;
        self.flap_from = at;
        if self.running == running {
            return;
        }
        self.running = running;
        self.modified_at = at;
        self.history.push((at, running));
        self.next_run_at = self.fails_runs().then_some(at).filter(|_| running);
        if policies.last_run_follows {
            self.last_run_follows_switch(at, policies);
        }
    }

    fn last_run_follows_switch(&mut self, at: Millis, policies: &Policies) {
        let executing = self.last_run == LastRun::Running;
        match (self.running, self.kind) {
            (true, TaskType::Timing) if executing => {}
            (true, TaskType::Timing) => self.last_run = LastRun::Waiting,
            (true, TaskType::Realtime) => self.set_last_run(LastRun::Running, None, at),
            // Of a real-time task the run is what the switch turns off.
            (false, TaskType::Timing) if executing && !policies.stop_cancels_run => {}
            (false, _) if executing => self.set_last_run(LastRun::Cancelled, None, at),
            (false, _) if self.last_run == LastRun::Waiting => self.last_run = LastRun::Cancelled,
            (false, _) => {}
        }
    }

    /// Sets how the latest run went, and logs that run.
    pub(crate) fn set_last_run(&mut self, last_run: LastRun, code: Option<u16>, at: Millis) {
        let code = code.unwrap_or_else(|| code_of(last_run));
        self.last_run = last_run;
        match last_run {
            LastRun::Running => self.runs.begin(at),
            LastRun::Success | LastRun::Cancelled | LastRun::Error => self.runs.end(at, last_run, code),
            LastRun::Unstarted | LastRun::Waiting => {
                self.runs.end_open(at, LastRun::Success, code_of(LastRun::Success));
            }
        }
        if last_run != LastRun::Running {
            self.run_ends_at = None;
        }
    }

    /// The monitor log, oldest run first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &TaskRun> + ExactSizeIterator {
        self.runs.iter()
    }

    /// `RunTask`: one run by hand. While one is executing the service rejects it, in the log only.
    pub(crate) fn run_by_hand(&mut self, now: Millis, policies: &Policies) {
        if self.last_run == LastRun::Running {
            self.runs.reject_overlap(now);
            return;
        }
        self.set_last_run(LastRun::Running, None, now);
        let takes = Millis::try_from(policies.run_ms).unwrap_or(Millis::MAX / 2);
        self.run_ends_at = Some(now + takes);
        self.settle(now, policies);
    }

    /// `StopTask`: cancels the run that is executing; false when there is none.
    pub(crate) fn terminate(&mut self, now: Millis) -> bool {
        let executing = self.last_run == LastRun::Running;
        if executing {
            self.set_last_run(LastRun::Cancelled, None, now);
        }
        executing
    }

    /// Makes runs fail from now on, or succeed again.
    pub(crate) fn set_failing_runs(&mut self, failing: Option<Manner>, now: Millis) {
        let cured = failing.is_none() && self.fails_runs();
        let others = self.manners.iter().filter(|manner| !matches!(manner, Manner::FailsRuns { .. })).cloned();
        let manners = others.chain(failing).collect();
        self.set_manners(manners, now);
        if cured && self.running {
            self.end_run(now);
        }
    }

    pub(crate) fn set_manners(&mut self, manners: Vec<Manner>, now: Millis) {
        self.manners = manners;
        self.flap_from = now;
        self.next_run_at = (self.fails_runs() && self.running).then_some(now);
    }

    /// The task with its switch as it was at `at`; `None` before it was created.
    pub(crate) fn as_seen_at(&self, at: Millis) -> Option<Self> {
        let &(_, running) = self.history.iter().rev().find(|(since, _)| *since <= at)?;
        Some(Self { running, ..self.clone() })
    }

    /// The first objection to `action` among this task's manners.
    pub(crate) fn objection(&mut self, action: Action) -> Option<Objection> {
        self.manners.iter_mut().find_map(|manner| manner.objection(action))
    }

    fn run_by_schedule(&mut self, at: Millis, now: Millis) {
        let every = self.manners.iter().find_map(|manner| match manner {
            Manner::FailsRuns { every_ms, .. } => every_ms.map(|ms| Millis::try_from(ms).unwrap_or(Millis::MAX).max(1)),
            _ => None,
        });
        let failed = self.end_run(at);
        self.next_run_at = every.filter(|_| failed).map(|every| {
            // A leap in time makes no more runs than are kept.
            let kept = Millis::try_from(MAX_RUNS).unwrap_or(Millis::MAX);
            let skipped = ((now - at) / every - kept).max(0);
            at + every.saturating_mul(skipped + 1)
        });
    }

    /// A run ends in ERROR when a manner says so, otherwise well. True when it failed.
    fn end_run(&mut self, at: Millis) -> bool {
        let failure = self.manners.iter_mut().find_map(Manner::failure);
        let healthy = match self.kind {
            TaskType::Timing => LastRun::Success,
            TaskType::Realtime => LastRun::Running,
        };
        self.set_last_run(if failure.is_some() { LastRun::Error } else { healthy }, failure, at);
        failure.is_some()
    }

    fn fails_runs(&self) -> bool {
        self.manners.iter().any(|manner| matches!(manner, Manner::FailsRuns { .. }))
    }

    fn flaps_every(&self) -> Option<Millis> {
        self.manners.iter().find_map(|manner| match manner {
            Manner::Flaps { every_ms } => Some(Millis::try_from(*every_ms).unwrap_or(Millis::MAX).max(1)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
