//! One simulated task: its switch, its latest run, and its manners.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// The `action_id` of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Start,
    Stop,
}

impl Action {
    /// The state of the switch that this action asks for.
    pub fn running(self) -> bool {
        self == Self::Start
    }
}

/// `task_type`: upper case in lists, lower case in filters and in `ShowTask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskType {
    Realtime,
    /// Runs by a schedule plan.
    #[default]
    Timing,
}

/// `task_mode` of the list filter: common, composite (`ext_type` = `CDC`), orchestrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskMode {
    #[default]
    Normal,
    Cdc,
    Flow,
}

/// `execute_status`: how the latest run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LastRun {
    #[default]
    Unstarted,
    Waiting,
    Running,
    Success,
    Cancelled,
    Error,
}

/// How a task behaves when it is told to start or stop. A task may have several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Manner {
    /// A start meets FDI.3083, as [`crate::Policies::missing_plan`] says.
    NoSchedulePlan,
    /// Shown under `failure` with this code and message.
    Refuses {
        /// Only this action; both when absent.
        #[serde(default)]
        action: Option<Action>,
        code: String,
        message: String,
        /// Only this often; always when absent.
        #[serde(default)]
        times: Option<u32>,
    },
    /// The whole batch that names this task is refused with this status, code and message;
    /// [`crate::Policies::apply_before_error`] says what became of the others.
    Poison {
        #[serde(default)]
        action: Option<Action>,
        status: u16,
        code: String,
        message: String,
        #[serde(default)]
        times: Option<u32>,
    },
    /// Its switch is seen to move this long after the command was accepted.
    SettlesAfter { ms: u64 },
    /// Commands are accepted and nothing comes of them.
    NeverSettles,
    /// Its switch flips back and forth by itself, this long after each change.
    Flaps { every_ms: u64 },
}

/// One task as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    pub id: Arc<str>,
    pub name: String,
    #[serde(rename = "task_type")]
    pub kind: TaskType,
    pub mode: TaskMode,
    /// The switch as it is seen now.
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
    /// A command that was accepted and is not seen yet.
    pub pending: Option<Pending>,
    /// Every change of the switch, oldest first: what lagging lists show.
    #[serde(skip)]
    history: Vec<(Millis, bool)>,
    #[serde(skip)]
    flap_from: Millis,
}

/// A switch that will move at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pending {
    pub running: bool,
    pub at: Millis,
}

impl Task {
    pub(crate) fn new(id: Arc<str>, name: String, new: &NewTasks, now: Millis) -> Self {
        Self {
            id,
            name,
            kind: new.task_type,
            mode: new.mode,
            running: new.running,
            last_run: new.last_run,
            created_at: now,
            modified_at: now,
            source_datasource_id: new.source_datasource_id.clone(),
            target_datasource_id: new.target_datasource_id.clone(),
            source_app_id: new.source_app_id.clone(),
            target_app_id: new.target_app_id.clone(),
            task_tag: new.task_tag.clone(),
            manners: new.manners.clone(),
            pending: None,
            history: vec![(now, new.running)],
            flap_from: now,
        }
    }

    /// The state it is in or on its way to.
    pub fn target(&self) -> bool {
        self.pending.map_or(self.running, |pending| pending.running)
    }

    /// Moves the switch for everything that is due by `now`.
    pub(crate) fn settle(&mut self, now: Millis, last_run_follows: bool) {
        if let Some(pending) = self.pending.filter(|pending| pending.at <= now) {
            self.pending = None;
            self.switch(pending.running, pending.at, last_run_follows);
        }
        if let Some(every) = self.flaps_every() {
            let flips = (now - self.flap_from) / every;
            if flips > 0 {
                let last = self.flap_from + flips * every;
                if flips % 2 == 1 {
                    self.switch(!self.running, last, last_run_follows);
                }
                self.flap_from = last;
            }
        }
    }

    /// When the switch will next move by itself.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        let flap = self.flaps_every().map(|every| self.flap_from + every);
        self.pending.map(|pending| pending.at).into_iter().chain(flap).min()
    }

    /// Takes a command that was accepted.
    pub(crate) fn command(&mut self, running: bool, now: Millis, settle_ms: u64, last_run_follows: bool) {
        if self.manners.contains(&Manner::NeverSettles) || self.target() == running {
            return;
        }
        let own = self.manners.iter().find_map(|manner| match manner {
            Manner::SettlesAfter { ms } => Some(*ms),
            _ => None,
        });
        let delay = Millis::try_from(own.unwrap_or(settle_ms)).unwrap_or(Millis::MAX / 2);
        self.pending = Some(Pending { running, at: now + delay });
        self.settle(now, last_run_follows);
    }

    /// Moves the switch at once, as a person at the console would.
    pub(crate) fn switch(&mut self, running: bool, at: Millis, last_run_follows: bool) {
        self.pending = None;
        self.flap_from = at;
        if self.running == running {
            return;
        }
        self.running = running;
        self.modified_at = at;
        self.history.push((at, running));
        if last_run_follows {
            self.last_run = match (running, self.kind, self.last_run) {
                (true, TaskType::Timing, _) => LastRun::Waiting,
                (true, TaskType::Realtime, _) => LastRun::Running,
                (false, _, LastRun::Waiting | LastRun::Running) => LastRun::Cancelled,
                (false, _, ended) => ended,
            };
        }
    }

    pub(crate) fn set_manners(&mut self, manners: Vec<Manner>, now: Millis) {
        self.manners = manners;
        self.flap_from = now;
    }

    /// The task with its switch as it was at `at`; `None` before it was created.
    pub(crate) fn as_seen_at(&self, at: Millis) -> Option<Self> {
        let &(_, running) = self.history.iter().rev().find(|(since, _)| *since <= at)?;
        Some(Self { running, ..self.clone() })
    }

    /// The refusal of `action` that this task's manners call for, used up by one where it is counted.
    pub(crate) fn objection(&mut self, action: Action) -> Option<Objection> {
        for manner in &mut self.manners {
            let objection = match manner {
                Manner::NoSchedulePlan if action == Action::Start => Objection::NoSchedulePlan,
                Manner::Refuses { action: only, code, message, times } if only.is_none_or(|a| a == action) => {
                    if !use_up(times) {
                        continue;
                    }
                    Objection::Refuses { code: code.clone(), message: message.clone() }
                }
                Manner::Poison { action: only, status, code, message, times } if only.is_none_or(|a| a == action) => {
                    if !use_up(times) {
                        continue;
                    }
                    Objection::Poison { status: *status, code: code.clone(), message: message.clone() }
                }
                _ => continue,
            };
            return Some(objection);
        }
        None
    }

    fn flaps_every(&self) -> Option<Millis> {
        self.manners.iter().find_map(|manner| match manner {
            Manner::Flaps { every_ms } => Some(Millis::try_from(*every_ms).unwrap_or(Millis::MAX).max(1)),
            _ => None,
        })
    }
}

/// Why a task does not take a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Objection {
    NoSchedulePlan,
    Refuses { code: String, message: String },
    Poison { status: u16, code: String, message: String },
}

fn use_up(times: &mut Option<u32>) -> bool {
    match times {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
    }
}

/// What tasks to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewTasks {
    /// How many, when `ids` is empty.
    pub count: usize,
    /// Exactly these IDs; otherwise 32 hexadecimal characters are made for each.
    pub ids: Vec<String>,
    /// Their names, in order; tasks beyond those are named `<prefix>-1`, `<prefix>-2` …, numbered through the instance.
    pub names: Vec<String>,
    pub prefix: String,
    pub running: bool,
    pub last_run: LastRun,
    pub task_type: TaskType,
    pub mode: TaskMode,
    pub source_datasource_id: String,
    pub target_datasource_id: String,
    pub source_app_id: String,
    pub target_app_id: String,
    pub task_tag: Option<String>,
    pub manners: Vec<Manner>,
}

impl Default for NewTasks {
    fn default() -> Self {
        Self {
            count: 1,
            ids: Vec::new(),
            names: Vec::new(),
            prefix: "task".to_owned(),
            running: false,
            last_run: LastRun::default(),
            task_type: TaskType::default(),
            mode: TaskMode::default(),
            source_datasource_id: "source-1".to_owned(),
            target_datasource_id: "target-1".to_owned(),
            source_app_id: "app-1".to_owned(),
            target_app_id: "app-2".to_owned(),
            task_tag: None,
            manners: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(manner: Manner) -> Task {
        let new = NewTasks { manners: vec![manner], ..NewTasks::default() };
        Task::new("t".into(), "t-1".into(), &new, 1_000)
    }

    #[test]
    fn a_task_that_settles_later_is_seen_in_its_old_state_until_then() {
        let mut task = task(Manner::SettlesAfter { ms: 500 });
        task.command(true, 1_000, 0, true);
        assert!((!task.running, task.target(), task.next_due()) == (true, true, Some(1_500)));
        task.settle(1_499, true);
        assert!(!task.running);
        task.settle(1_500, true);
        assert_eq!((task.running, task.last_run), (true, LastRun::Waiting));
        assert_eq!(task.as_seen_at(1_499).map(|task| task.running), Some(false));
        assert_eq!(task.as_seen_at(999), None);
    }

    #[test]
    fn a_task_that_never_settles_takes_commands_and_stays() {
        let mut task = task(Manner::NeverSettles);
        task.command(true, 1_000, 0, true);
        task.settle(i64::MAX / 4, true);
        assert!(!task.running);
    }

    #[test]
    fn a_task_that_flaps_flips_at_each_interval_also_when_time_leaps() {
        let mut task = task(Manner::Flaps { every_ms: 100 });
        task.settle(1_099, true);
        assert!(!task.running);
        task.settle(1_100, true);
        assert!(task.running);
        task.settle(1_100 + 200_000, true);
        assert!(task.running);
        task.settle(1_100 + 200_100, true);
        assert!(!task.running);
    }

    #[test]
    fn a_counted_refusal_is_used_up() {
        let mut task = task(Manner::Refuses { action: None, code: "C".into(), message: "m".into(), times: Some(1) });
        assert!(task.objection(Action::Stop).is_some());
        assert!(task.objection(Action::Stop).is_none());
    }

    #[test]
    fn a_missing_schedule_plan_does_not_hinder_a_stop() {
        let mut task = task(Manner::NoSchedulePlan);
        assert!(task.objection(Action::Stop).is_none());
        assert_eq!(task.objection(Action::Start), Some(Objection::NoSchedulePlan));
    }
}
