//! What every selection must be, whatever is listed and whatever specs say.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;
use crate::crd::{FdiTaskGroup, FdiTaskGroupSpec, FdiTaskGroupStatus, MaxTasks, TaskExclusion, TaskSelector, TaskType};
use crate::fdi::{self, Attributes, LastRun, RunState, Task, TaskAttributes, TaskId, Tasks};
use crate::reconcile::desired::{CLAIMED_MAX, Desired, DesiredGroup, Snapshot, StoredGroup, resolve};
use crate::time::backoff::add;

/// Names have two letters out of three, so that globs and ambiguous names are frequent.
const LETTERS: [&str; 3] = ["a", "b", "c"];

fn id(n: usize) -> TaskId {
    TaskId::new(format!("t{n:02}")).unwrap()
}

fn task(n: usize, name: &str, tag: &str, type_: fdi::TaskType) -> Task {
    let attributes = TaskAttributes { tag: tag.into(), source_app: "s".into(), target_app: "".into() };
    Task {
        id: id(n),
        name: name.into(),
        state: Some(RunState::Running),
        last_run: LastRun::Unknown,
        type_: Some(type_),
        attributes: Some(Arc::new(attributes)),
    }
}

fn name() -> impl Strategy<Value = String> {
    (0..3_usize, 0..3_usize).prop_map(|(first, second)| format!("{}{}", LETTERS[first], LETTERS[second]))
}

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let tag = prop_oneof![Just("nightly"), Just("hourly"), Just("")];
    let type_ = prop_oneof![Just(fdi::TaskType::Scheduled), Just(fdi::TaskType::RealTime)];
    prop::collection::vec((name(), tag, type_), 0..16).prop_map(|tasks| {
        tasks.into_iter().enumerate().map(|(n, (name, tag, type_))| task(n, &name, tag, type_)).collect()
    })
}

fn texts(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|&text| text.into()).collect()
}

fn selector() -> impl Strategy<Value = TaskSelector> {
    let glob = prop_oneof![Just("*"), Just("a*"), Just("?b"), Just("cc")];
    let exclude = prop::option::of((prop_oneof![Just("*a"), Just("bb")], 0..16_usize));
    (prop::option::of(glob), any::<bool>(), any::<bool>(), exclude).prop_map(|(glob, tag, scheduled, exclude)| {
        TaskSelector {
            names: texts(&[glob.unwrap_or("*")]),
            tags: if tag { texts(&["nightly"]) } else { Vec::new() },
            types: if scheduled { vec![TaskType::Scheduled] } else { Vec::new() },
            exclude: exclude.map(|(name, n)| TaskExclusion {
                names: texts(&[name]),
                task_ids: vec![id(n).as_str().into()],
                tags: Vec::new(),
            }),
            ..TaskSelector::default()
        }
    })
}

fn spec() -> impl Strategy<Value = FdiTaskGroupSpec> {
    let ids = prop::collection::vec(0..16_usize, 0..4);
    let names = prop::collection::vec(name(), 0..3);
    (ids, names, prop::option::of(selector())).prop_map(|(ids, names, selector)| FdiTaskGroupSpec {
        task_ids: ids.into_iter().map(|n| id(n).as_str().into()).collect(),
        task_names: names.into_iter().map(Into::into).collect(),
        selector: selector.map(Box::new),
        ..FdiTaskGroupSpec::default()
    })
}

/// Each group is a second younger than the one before it.
fn snapshot(specs: &[FdiTaskGroupSpec]) -> Snapshot {
    let group = |(n, spec): (usize, &FdiTaskGroupSpec)| {
        let mut object = FdiTaskGroup::new(&format!("g{n}"), spec.clone());
        object.metadata.uid = Some(format!("uid-{n}"));
        object.metadata.generation = Some(1);
        object.metadata.creation_timestamp = Some(Time(at(n)));
        let status = FdiTaskGroupStatus::default();
        StoredGroup { object: Arc::new(object.into()), status: status.into(), unreported_since: None, predates: false }
    };
    Snapshot { instance: None, groups: specs.iter().enumerate().map(group).collect() }
}

fn at(seconds: usize) -> Timestamp {
    add(Timestamp::UNIX_EPOCH, Duration::from_secs(u64::try_from(seconds).unwrap()))
}

/// What is desired after these lists, one a second.
fn after(specs: &[FdiTaskGroupSpec], lists: &[Vec<Task>]) -> Desired {
    let mut selections = Selections::default();
    let mut desired = resolve(snapshot(specs), &selections);
    for (n, tasks) in lists.iter().enumerate() {
        let list = TaskList::new(at(n), Tasks::new(Attributes::Keep, tasks.clone()));
        selections.update(&desired.choosing(), Some(&list), CLAIMED_MAX, at(n));
        desired = desired.reselected(&selections);
    }
    desired
}

fn owners(desired: &Desired) -> BTreeMap<String, String> {
    desired.owned().map(|(group, id)| (id.to_string(), group.name.clone())).collect()
}

/// The tasks that a spec names by ID, or by a name that only one task has.
fn listed(spec: &FdiTaskGroupSpec, tasks: &[Task]) -> Vec<String> {
    let with_name = |name: &str| tasks.iter().filter(|task| *task.name == *name).collect::<Vec<_>>();
    let named = spec.task_names.iter().filter_map(|name| match with_name(name)[..] {
        [task] => Some(task.id.to_string()),
        _ => None,
    });
    spec.task_ids.iter().map(ToString::to_string).chain(named).collect()
}

proptest! {
    #[test]
    fn a_task_has_one_owner_the_oldest_that_lists_it_or_else_the_oldest_that_selects_it(
        specs in prop::collection::vec(spec(), 1..6), tasks in tasks()
    ) {
        let desired = after(&specs, std::slice::from_ref(&tasks));
        let owners = owners(&desired);
        prop_assert_eq!(owners.len(), desired.owned().count(), "nobody owns a task twice");
        let mut expected = BTreeMap::new();
        for (n, spec) in specs.iter().enumerate() {
            for id in listed(spec, &tasks) {
                expected.entry(id).or_insert(format!("g{n}"));
            }
        }
        for (n, spec) in specs.iter().enumerate() {
            let Some(selector) = &spec.selector else { continue };
            for task in tasks.iter().filter(|task| matcher::Matcher::new(selector).matches(task)) {
                expected.entry(task.id.to_string()).or_insert(format!("g{n}"));
            }
        }
        prop_assert_eq!(owners, expected);
        for (group, spec) in desired.groups().iter().zip(&specs) {
            let conflicts: Vec<_> = group.conflicts.iter().map(|conflict| &conflict.task).collect();
            prop_assert!(group.owned.iter().all(|id| !conflicts.contains(&id)));
            let unresolved: Vec<_> = group.unresolved().iter().map(|name| &name.name).collect();
            let names: std::collections::BTreeSet<_> = spec.task_names.iter().collect();
            let resolved = names.iter().filter(|name| !unresolved.contains(name)).count();
            prop_assert_eq!(resolved + unresolved.len(), names.len(), "each name stands for a task or is reported");
        }
    }

    #[test]
    fn neither_the_order_of_groups_nor_that_of_the_list_nor_that_of_a_spec_makes_a_difference(
        specs in prop::collection::vec(spec(), 1..6), tasks in tasks()
    ) {
        let usual = after(&specs, std::slice::from_ref(&tasks));
        let mut selections = Selections::default();
        let mut backwards = snapshot(&specs);
        backwards.groups.reverse();
        for group in &mut backwards.groups {
            let object = Arc::make_mut(&mut group.object);
            object.spec.task_ids.reverse();
            object.spec.task_names.reverse();
        }
        let list = TaskList::new(at(0), Tasks::new(Attributes::Keep, tasks.into_iter().rev().collect()));
        let desired = resolve(backwards, &selections);
        selections.update(&desired.choosing(), Some(&list), CLAIMED_MAX, at(0));
        let desired = desired.reselected(&selections);
        prop_assert_eq!(owners(&usual), owners(&desired));
        for (one, other) in usual.groups().iter().zip(desired.groups()) {
            prop_assert_eq!((one.overridden, one.conflicts.len()), (other.overridden, other.conflicts.len()));
            let digest = |group: &DesiredGroup| {
                group.selection.as_ref().map(|selection| selection.digest.clone())
            };
            prop_assert_eq!(digest(one), digest(other));
        }
    }

    #[test]
    fn one_list_that_does_not_show_a_task_takes_it_from_no_selection_and_two_do(
        specs in prop::collection::vec(spec(), 1..4), tasks in tasks(), gone in prop::collection::vec(any::<bool>(), 16)
    ) {
        // Names that are ambiguous, or no longer so, are another matter.
        let mut names = std::collections::BTreeSet::new();
        let tasks: Vec<Task> = tasks.into_iter().filter(|task| names.insert(task.name.clone())).collect();
        let rest: Vec<Task> = tasks.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(task, _)| task.clone()).collect();
        let full = owners(&after(&specs, std::slice::from_ref(&tasks)));
        let once = after(&specs, &[tasks.clone(), rest.clone()]);
        prop_assert_eq!(&owners(&once), &full);
        let shown_again = after(&specs, &[tasks.clone(), rest.clone(), tasks.clone(), rest.clone()]);
        prop_assert_eq!(&owners(&shown_again), &full, "the two have to be in a row");
        let twice = after(&specs, &[tasks.clone(), rest.clone(), rest.clone()]);
        prop_assert_eq!(owners(&twice), owners(&after(&specs, &[rest])));
    }

    #[test]
    fn a_list_that_shows_nothing_new_gives_what_comparing_it_gives(
        specs in prop::collection::vec(spec(), 1..4), tasks in tasks(), others in tasks()
    ) {
        let lists = [others, tasks.clone(), tasks.clone(), tasks.clone(), tasks.clone()];
        prop_assert_eq!(owners(&after(&specs, &lists)), owners(&after(&specs, &[tasks])));
    }
}

fn by_name(glob: &str, most: i32) -> FdiTaskGroupSpec {
    let selector = TaskSelector { names: texts(&[glob]), max_tasks: MaxTasks(most), ..TaskSelector::default() };
    FdiTaskGroupSpec { selector: Some(selector.into()), ..FdiTaskGroupSpec::default() }
}

fn numbered(tasks: std::ops::Range<usize>) -> Vec<Task> {
    tasks.map(|n| task(n, &format!("task {n}"), "", fdi::TaskType::RealTime)).collect()
}

#[test]
fn a_selector_that_matches_too_much_chooses_nothing_and_says_how_much() {
    let chosen = |tasks, most| {
        let desired = after(&[by_name("task *", most)], &[numbered(0..tasks)]);
        let group = &desired.groups()[0];
        (group.owned.len(), group.selection.as_ref().unwrap().too_large)
    };
    assert_eq!(chosen(5, 5), (5, None));
    assert_eq!(chosen(6, 5), (0, Some(6)));
}

#[test]
fn all_groups_together_choose_a_bounded_number_of_tasks() {
    let specs = vec![by_name("*", 1000); 30];
    let desired = after(&specs, &[numbered(0..1000)]);
    let too_large = desired.groups().iter().filter(|group| group.selection.as_ref().unwrap().too_large.is_some());
    assert_eq!(too_large.count(), 10, "20,000 tasks in all, the oldest groups first");
}

#[test]
fn a_selector_by_tag_waits_for_a_list_with_tags() {
    let selector = TaskSelector { tags: texts(&["nightly"]), ..TaskSelector::default() };
    let spec = FdiTaskGroupSpec { selector: Some(selector.into()), ..FdiTaskGroupSpec::default() };
    let mut selections = Selections::default();
    let desired = resolve(snapshot(&[spec, by_name("x", 10)]), &selections);
    let mut tasks = vec![task(1, "x", "nightly", fdi::TaskType::Scheduled)];
    tasks[0].attributes = None;
    let list = TaskList::new(at(1), Tasks::new(Attributes::Omit, tasks));
    selections.update(&desired.choosing(), Some(&list), CLAIMED_MAX, at(1));
    let desired = desired.reselected(&selections);
    assert_eq!(desired.attributes(), Attributes::Keep);
    let awaits: Vec<bool> = desired.groups().iter().map(DesiredGroup::awaits_selection).collect();
    assert_eq!(awaits, [true, false]);
}

#[test]
fn attributes_have_to_match_exactly_and_one_exclusion_is_enough() {
    let matches = |change: fn(&mut TaskSelector)| {
        let mut selector = TaskSelector::default();
        change(&mut selector);
        matcher::Matcher::new(&selector).matches(&task(7, "orders-eu", "nightly", fdi::TaskType::Composite))
    };
    let exclude = |exclude| Some(exclude);
    assert!(matches(|selector| selector.names = texts(&["x", "orders-*"])));
    assert!(matches(|selector| selector.names = texts(&["orders-??"])));
    assert!(!matches(|selector| selector.names = texts(&["Orders-*"])), "letter case counts");
    assert!(!matches(|selector| selector.names = texts(&["orders-[a-z]*"])), "only * and ? are special");
    assert!(matches(|selector| selector.tags = texts(&["hourly", "nightly"])));
    assert!(!matches(|selector| selector.tags = texts(&["night*"])), "tags are no globs");
    assert!(matches(|selector| selector.source_apps = texts(&["s"])));
    assert!(!matches(|selector| selector.target_apps = texts(&["s"])));
    assert!(matches(|selector| selector.types = vec![TaskType::Composite]));
    assert!(!matches(|selector| selector.types = vec![TaskType::Scheduled, TaskType::RealTime]));
    let all = |rest: TaskExclusion| {
        let selector = TaskSelector { names: texts(&["*"]), exclude: exclude(rest), ..TaskSelector::default() };
        matcher::Matcher::new(&selector).matches(&task(7, "orders-eu", "nightly", fdi::TaskType::Composite))
    };
    assert!(all(TaskExclusion { names: texts(&["x"]), task_ids: texts(&["t08"]), tags: texts(&["hourly"]) }));
    assert!(!all(TaskExclusion { names: texts(&["*-eu"]), ..TaskExclusion::default() }));
    assert!(!all(TaskExclusion { task_ids: texts(&["t07"]), ..TaskExclusion::default() }));
    assert!(!all(TaskExclusion { tags: texts(&["nightly"]), ..TaskExclusion::default() }));
}
