//! What a walk consists of. Proptest makes it, and makes it shorter when it fails.

use fdi_simulator::{Action, Effect, Manner, Operation, Trigger};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

pub const TASKS: usize = 14;
const GROUPS: usize = 4;
/// The names of tasks begin with one of them.
const LETTERS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens. Printed, a walk is the Rust code of a case to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Creates the group, or edits all of its spec.
    Apply {
        group: usize,
        tasks: Tasks,
        running: bool,
        stop: bool,
    },
    Choose(usize, Tasks),
    Flip(usize),
    Suspend(usize, bool),
    StopWhenDeleted(usize, bool),
    /// An edit that the API server refuses.
    Refused(usize, Invalid),
    Delete(usize),
    SuspendInstance(bool),
    /// Somebody switches so many tasks at the console.
    Drift(usize, usize),
    Rename(usize, usize),
    /// Two tasks of the same name.
    NameLike(usize, usize),
    Remove(usize),
    Make(usize),
    Behave(usize, Behavior),
    /// For so many milliseconds, or until the next quiet point.
    Trouble(Fault, u64),
    /// The operator dies after so many more requests, if it sends them.
    Kill(usize),
    /// Its successor starts: at the next quiet point at the latest.
    Start,
    Wait(u64),
    /// Nothing happens until everything is at rest, and all of it is checked.
    Quiet,
}

/// The tasks that a spec chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tasks {
    Ids(usize, usize),
    Names(usize, usize),
    Selected(usize),
    /// More match than the selector may choose.
    TooMany(usize),
    All,
    None,
    /// One that exists and one that does not.
    Missing(usize),
    IdsAndSelected(usize, usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Invalid {
    NoTasks,
    EmptyList,
    State,
    OtherInstance,
}

/// How a task behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behavior {
    Well,
    Slow(u64),
    RefusesStart,
    RefusesTimes(u32),
    NoPlan,
    Poison,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    Throttled,
    Failing,
    Outage,
    /// Calls act, and their responses are lost.
    LostAnswers,
    LostCalls,
    /// Responses to calls leave out the first tasks.
    MissingAnswers,
    ListsFail,
    ListsLag(u64),
}

pub type Walk = Vec<Step>;

pub fn id(task: usize) -> String {
    format!("{task:032x}")
}

pub fn name(task: usize, letter: usize) -> String {
    format!("{}-{task:02}", LETTERS[letter])
}

/// Before anybody renames it.
pub fn first_name(task: usize) -> String {
    name(task, task % LETTERS.len())
}

fn range(from: usize, count: usize) -> std::ops::RangeInclusive<usize> {
    from..=(from + count - 1).min(TASKS)
}

impl Tasks {
    /// The part of a spec, with `null` for what is not set.
    pub fn spec(self) -> Value {
        let ids = |from, count| range(from, count).map(id).collect::<Vec<_>>();
        let names = |pattern: String, most: usize| json!({"names": [pattern], "maxTasks": most});
        let selected = |letter: usize| names(format!("{}-*", LETTERS[letter]), 1000);
        let (ids, names, selector) = match self {
            Self::Ids(from, count) => (json!(ids(from, count)), Value::Null, Value::Null),
            Self::Names(from, count) => {
                (Value::Null, json!(range(from, count).map(first_name).collect::<Vec<_>>()), Value::Null)
            }
            Self::Selected(letter) => (Value::Null, Value::Null, selected(letter)),
            Self::TooMany(letter) => (Value::Null, Value::Null, names(format!("{}-*", LETTERS[letter]), 1)),
            Self::All => (Value::Null, Value::Null, names("*".to_owned(), 1000)),
            Self::None => (Value::Null, Value::Null, names("nothing-*".to_owned(), 1000)),
            Self::Missing(task) => (json!([id(task), id(0xdead)]), json!(["nobody"]), Value::Null),
            Self::IdsAndSelected(from, count, letter) => (json!(ids(from, count)), Value::Null, selected(letter)),
        };
        json!({"taskIds": ids, "taskNames": names, "selector": selector})
    }
}

impl Invalid {
    pub fn spec(self) -> Value {
        match self {
            Self::NoTasks => json!({"taskIds": null, "taskNames": null, "selector": null}),
            Self::EmptyList => json!({"taskIds": []}),
            Self::State => json!({"desiredState": "Paused"}),
            Self::OtherInstance => json!({"instanceRef": {"name": "other"}}),
        }
    }
}

impl Behavior {
    pub fn manners(self) -> Vec<Manner> {
        let refuses = |code: &str, times| Manner::Refuses {
            action: Some(Action::Start),
            code: code.to_owned(),
            message: "No".to_owned(),
            times,
        };
        match self {
            Self::Well => Vec::new(),
            Self::Slow(ms) => vec![Manner::SettlesAfter { ms }],
            Self::RefusesStart => vec![refuses("FDI.3026", None)],
            Self::RefusesTimes(times) => vec![refuses("FDI.3026", Some(times))],
            Self::NoPlan => vec![Manner::NoSchedulePlan],
            Self::Poison => vec![Manner::Poison {
                action: Some(Action::Start),
                status: 400,
                code: "FDI.3021".to_owned(),
                message: "One of them".to_owned(),
                times: None,
            }],
        }
    }
}

impl Fault {
    pub fn on(self) -> (Trigger, Effect) {
        let (batch, list) = (Trigger::on(Operation::Batch), Trigger::on(Operation::List));
        match self {
            Self::Throttled => (batch, Effect::throttled(None)),
            Self::Failing => (batch, Effect::fdi(500, "FDI.9999", "Network error")),
            Self::Outage => (Trigger::all(), Effect::html(503)),
            Self::LostAnswers => (batch, Effect::Cut { acts: true }),
            Self::LostCalls => (batch, Effect::Cut { acts: false }),
            Self::MissingAnswers => (batch, Effect::MissingIds { count: 2 }),
            Self::ListsFail => (list, Effect::html(502)),
            Self::ListsLag(ms) => (list, Effect::StaleFor { ms }),
        }
    }
}

fn tasks() -> impl Strategy<Value = Tasks> {
    let (from, count, letter) = (1..=TASKS, 1..8_usize, 0..LETTERS.len());
    prop_oneof![
        8 => (from.clone(), count.clone()).prop_map(|(from, count)| Tasks::Ids(from, count)),
        4 => (from.clone(), count.clone()).prop_map(|(from, count)| Tasks::Names(from, count)),
        5 => letter.clone().prop_map(Tasks::Selected),
        1 => letter.clone().prop_map(Tasks::TooMany),
        1 => Just(Tasks::All),
        1 => Just(Tasks::None),
        1 => from.clone().prop_map(Tasks::Missing),
        1 => (from, count, letter).prop_map(|(from, count, letter)| Tasks::IdsAndSelected(from, count, letter)),
    ]
}

fn apply(group: impl Strategy<Value = usize>) -> impl Strategy<Value = Step> {
    (group, tasks(), prop::bool::weighted(0.85), any::<bool>()).prop_map(|(group, tasks, running, stop)| Step::Apply {
        group,
        tasks,
        running,
        stop,
    })
}

fn behavior() -> impl Strategy<Value = Behavior> {
    prop_oneof![
        2 => Just(Behavior::Well),
        3 => (100..1500_u64).prop_map(Behavior::Slow),
        1 => Just(Behavior::RefusesStart),
        1 => (1..4_u32).prop_map(Behavior::RefusesTimes),
        1 => Just(Behavior::NoPlan),
        2 => Just(Behavior::Poison),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Throttled),
        Just(Fault::Failing),
        Just(Fault::Outage),
        Just(Fault::LostAnswers),
        Just(Fault::LostCalls),
        Just(Fault::MissingAnswers),
        Just(Fault::ListsFail),
        (50..800_u64).prop_map(Fault::ListsLag),
    ]
}

fn invalid() -> impl Strategy<Value = Invalid> {
    prop::sample::select(vec![Invalid::NoTasks, Invalid::EmptyList, Invalid::State, Invalid::OtherInstance])
}

/// True, and as seldom that most of a walk is not suspended.
fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.3)
}

fn step() -> impl Strategy<Value = Step> {
    use Step as S;
    let (group, task, letter) = (0..GROUPS, 1..=TASKS, 0..LETTERS.len());
    let edit = prop_oneof![
        2 => apply(group.clone()),
        3 => (group.clone(), tasks()).prop_map(|(group, tasks)| S::Choose(group, tasks)),
        8 => group.clone().prop_map(S::Flip),
        2 => (group.clone(), rarely()).prop_map(|(group, on)| S::Suspend(group, on)),
        1 => (group.clone(), any::<bool>()).prop_map(|(group, on)| S::StopWhenDeleted(group, on)),
        1 => (group.clone(), invalid()).prop_map(|(group, invalid)| S::Refused(group, invalid)),
        2 => group.prop_map(S::Delete),
        1 => rarely().prop_map(S::SuspendInstance),
    ];
    let console = prop_oneof![
        4 => (task.clone(), 1..5_usize).prop_map(|(from, count)| S::Drift(from, count)),
        2 => (task.clone(), letter).prop_map(|(task, letter)| S::Rename(task, letter)),
        1 => (task.clone(), task.clone()).prop_map(|(task, like)| S::NameLike(task, like)),
        1 => task.clone().prop_map(S::Remove),
        1 => task.clone().prop_map(S::Make),
    ];
    prop_oneof![
        8 => edit,
        4 => console,
        3 => (task, behavior()).prop_map(|(task, behavior)| S::Behave(task, behavior)),
        3 => (fault(), 50..1500_u64).prop_map(|(fault, ms)| S::Trouble(fault, ms)),
        2 => (0..12_usize).prop_map(S::Kill),
        3 => Just(S::Start),
        4 => (10..600_u64).prop_map(S::Wait),
        3 => Just(S::Quiet),
    ]
}

/// The walk with this number: always the same one.
pub fn walk(seed: u64) -> impl ValueTree<Value = Walk> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), random);
    let walks = ((apply(Just(0)), apply(Just(1)), apply(Just(2))), prop::collection::vec(step(), 10..30))
        .prop_map(|((a, b, c), then)| [a, b, c].into_iter().chain(then).collect::<Walk>());
    walks.new_tree(&mut runner).unwrap()
}
