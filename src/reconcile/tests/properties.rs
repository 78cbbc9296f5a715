//! Random lives of an instance: whatever happens, once it stops happening everything ends as
//! wanted, and then there is silence.

use std::time::Duration;

use proptest::prelude::*;

use super::service::{Fault, TaskBehavior, error, id};
use super::simulation::Simulation;
use crate::crd::{
    Condition, ConditionStatus, DeletionPolicy, DesiredState, FdiTaskGroup, MaxTasks, TaskSelector, reasons,
};
use crate::fdi::{Cause, Class, Outcome, Refusal, RunState};

const TASKS: usize = 24;

/// In the names of tasks: the first one in those of all that were not renamed.
const LETTERS: [&str; 3] = ["n", "x", "y"];

#[derive(Debug, Clone)]
enum Happening {
    Apply {
        name: u8,
        running: bool,
        from: usize,
        n: usize,
        stop: bool,
    },
    Flip(u8),
    Retask {
        name: u8,
        from: usize,
        n: usize,
    },
    /// A selector in place of the IDs: tasks whose names have this letter.
    Select {
        name: u8,
        letter: u8,
    },
    /// Names in place of the IDs.
    Name {
        name: u8,
        from: usize,
        n: usize,
    },
    Rename {
        task: usize,
        letter: u8,
    },
    Vanish(usize),
    Suspend(u8, bool),
    Delete(u8),
    Drift(usize),
    LoseCall {
        applied: usize,
    },
    LoseList,
    Throttle,
    Partly {
        place: usize,
        refused: bool,
    },
    TaskBehavior {
        task: usize,
        kind: u8,
    },
    Lag(u64),
    Restart,
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    prop_oneof![
        4 => (0..5_u8, any::<bool>(), 1..TASKS, 1..14_usize, any::<bool>())
            .prop_map(|(name, running, from, n, stop)| H::Apply { name, running, from, n, stop }),
        3 => (0..5_u8).prop_map(H::Flip),
        1 => (0..5_u8, 1..TASKS, 1..14_usize).prop_map(|(name, from, n)| H::Retask { name, from, n }),
        2 => (0..5_u8, 0..3_u8).prop_map(|(name, letter)| H::Select { name, letter }),
        1 => (0..5_u8, 1..TASKS, 1..6_usize).prop_map(|(name, from, n)| H::Name { name, from, n }),
        1 => (1..=TASKS, 0..3_u8).prop_map(|(task, letter)| H::Rename { task, letter }),
        1 => (1..=TASKS).prop_map(H::Vanish),
        1 => (0..5_u8, any::<bool>()).prop_map(|(name, on)| H::Suspend(name, on)),
        1 => (0..5_u8).prop_map(H::Delete),
        2 => (1..=TASKS).prop_map(H::Drift),
        3 => (0..11_usize).prop_map(|applied| H::LoseCall { applied }),
        2 => Just(H::LoseList),
        1 => Just(H::Throttle),
        2 => (0..10_usize, any::<bool>()).prop_map(|(place, refused)| H::Partly { place, refused }),
        2 => (1..=TASKS, 0..5_u8).prop_map(|(task, kind)| H::TaskBehavior { task, kind }),
        1 => (0..20_u64).prop_map(H::Lag),
        1 => Just(H::Restart),
        6 => prop_oneof![0..2_000_u64, 0..90_000_u64, 0..700_000_u64].prop_map(H::Wait),
    ]
}

fn name(n: u8) -> String {
    format!("g{n}")
}

fn exists(sim: &Simulation, n: u8) -> bool {
    let alive = |group: &FdiTaskGroup| group.metadata.deletion_timestamp.is_none();
    sim.groups.iter().any(|group| group.metadata.name.as_deref() == Some(&name(n)) && alive(group))
}

#[allow(clippy::needless_pass_by_value, clippy::collapsible_match)]
fn happen(sim: &mut Simulation, happening: Happening) {
    use Happening as H;
    let state = |running| if running { DesiredState::Running } else { DesiredState::Stopped };
    match happening {
        H::Apply { name: n, running, from, n: count, stop } => {
            if !sim.groups.iter().any(|g| g.metadata.name.as_deref() == Some(&name(n))) {
                let group = sim.group(&name(n), state(running), from..from + count);
                group.spec.deletion_policy = if stop { DeletionPolicy::Stop } else { DeletionPolicy::Orphan };
            }
        }
        H::Flip(n) if exists(sim, n) => sim.edit(&name(n), |spec| {
            spec.desired_state = state(spec.desired_state == DesiredState::Stopped);
        }),
        H::Retask { name: n, from, n: count } if exists(sim, n) => {
            sim.edit(&name(n), |spec| {
                spec.task_ids = (from..from + count).map(|n| id(n).as_str().into()).collect();
                (spec.task_names, spec.selector) = (Vec::new(), None);
            });
        }
        H::Suspend(n, on) if exists(sim, n) => sim.edit(&name(n), |spec| spec.suspend = on),
        H::Delete(n) if exists(sim, n) => sim.delete(&name(n)),
        H::Drift(n) => {
            if let Some(task) = sim.service.tasks.get_mut(&id(n)) {
                *task = if *task == RunState::Running { RunState::Stopped } else { RunState::Running };
            }
        }
        H::LoseCall { applied } => {
            let error = error(Class::Unavailable, Cause::Unavailable, "Timeout");
            sim.service.batch_faults.push_back(Fault::Fail { error, applied });
        }
        H::LoseList => {
            let error = error(Class::Unavailable, Cause::Unavailable, "HTTP 502");
            sim.service.list_faults.push_back(Fault::Fail { error, applied: 0 });
        }
        H::Throttle => {
            let error = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
            sim.service.batch_faults.push_back(Fault::Fail { error, applied: 0 });
        }
        H::Partly { place, refused } => {
            let refusal = Refusal { code: "FDI.3026".into(), message: "try again".into(), permanent: false };
            let outcome = if refused { Outcome::Refused(refusal) } else { Outcome::Unknown };
            sim.service.batch_faults.push_back(Fault::Partly(vec![(place, outcome)]));
        }
        H::TaskBehavior { task, kind } => {
            let refusal =
                |permanent| Outcome::Refused(Refusal { code: "FDI.3083".into(), message: "no".into(), permanent });
            let poison = |class| Some(error(class, Cause::BatchRefused, "FDI.3021"));
            let (settles_after, refuses, poison) = match kind {
                0 => (Some(Duration::from_secs(15)), None, None),
                1 => (None, None, None),
                2 => (Some(Duration::ZERO), Some(refusal(true)), None),
                3 => (Some(Duration::ZERO), None, poison(Class::Split)),
                _ => (Some(Duration::ZERO), None, poison(Class::SplitOnce)),
            };
            sim.service.behaviors.insert(id(task), TaskBehavior { settles_after, refuses, poison });
        }
        H::Lag(seconds) => sim.service.lag = Duration::from_secs(seconds),
        H::Restart => sim.restart(),
        H::Wait(milliseconds) => sim.run_for(Duration::from_millis(milliseconds)),
        other => choose(sim, other),
    }
}

/// What concerns names and selectors.
#[allow(clippy::needless_pass_by_value)]
fn choose(sim: &mut Simulation, happening: Happening) {
    use Happening as H;
    match happening {
        H::Select { name: n, letter } if exists(sim, n) => sim.edit(&name(n), |spec| {
            let names = vec![format!("*{}*", LETTERS[usize::from(letter)]).into()];
            spec.selector = Some(TaskSelector { names, max_tasks: MaxTasks(20), ..TaskSelector::default() }.into());
            (spec.task_ids, spec.task_names) = (Vec::new(), Vec::new());
        }),
        H::Name { name: n, from, n: count } if exists(sim, n) => sim.edit(&name(n), |spec| {
            spec.task_names = (from..from + count).map(|n| format!("name of {}", id(n)).into()).collect();
            (spec.task_ids, spec.selector) = (Vec::new(), None);
        }),
        H::Rename { task, letter } => {
            sim.service.names.insert(id(task), format!("{} {task}", LETTERS[usize::from(letter)]));
        }
        H::Vanish(n) => {
            sim.service.tasks.remove(&id(n));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn once_trouble_ends_everything_ends_as_wanted_and_then_there_is_silence(
        life in prop::collection::vec(happening(), 1..40)
    ) {
        let mut sim = Simulation::new(TASKS);
        let events = life.len();
        for happening in life {
            happen(&mut sim, happening);
        }
        // The failure ends: the service does as it is told again.
        sim.service.behaviors.clear();
        sim.service.batch_faults.clear();
        sim.service.list_faults.clear();
        sim.service.lag = Duration::ZERO;
        sim.run_for(Duration::from_secs(45 * 60));
        let (calls, writes) = (sim.service.calls.len(), sim.writes);
        // Each event changes what is to be reported of an instance and five groups twice at most,
        // and costs three calls, or as many attempts as there are, or the isolation of a task.
        prop_assert!(writes <= 12 * (events + 1), "{} writes after {} events", writes, events);
        prop_assert!(calls <= 20 * (events + 1), "{} calls after {} events", calls, events);
        let instance = sim.instance.clone().unwrap().status.unwrap();
        prop_assert!(instance.conditions.iter().all(Condition::is_true), "{:?}", instance.conditions);
        for group in sim.groups.clone() {
            let name = group.metadata.name.clone().unwrap();
            let (ready, reason, _) = sim.conditions(&name);
            let status = sim.status(&name);
            let listed = group.spec.task_ids.len() + group.spec.task_names.len() > 0;
            let counts = status.tasks.unwrap();
            match reason.as_str() {
                reasons::TASKS_IN_DESIRED_STATE => prop_assert_eq!(ready, ConditionStatus::True),
                reasons::SUSPENDED => prop_assert!(group.spec.suspend),
                reasons::TASKS_CONFLICT => prop_assert!(counts.conflicting > 0),
                reasons::TASKS_FAILED => {
                    prop_assert!(listed, "{:?}", status);
                    prop_assert!(status.failures.iter().all(|f| f.code == "TaskNotFound"), "{:?}", status);
                }
                reasons::SELECTION_TOO_LARGE => prop_assert!(status.selection.is_some_and(|found| found.matched > 20)),
                reasons::NO_TASKS_SELECTED => prop_assert!(group.spec.selector.is_some() && counts.total == 0),
                other => prop_assert!(false, "{} says {}: {:?}", name, other, status),
            }
            prop_assert_eq!(status.observed_generation, group.metadata.generation.unwrap());
        }
        sim.run_for(Duration::from_secs(20 * 60));
        prop_assert_eq!((sim.service.calls.len(), sim.writes), (calls, writes), "silence");
    }
}
