//! Every task is in exactly one group, which leaves it as it is.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fdi::{LastRun, TaskAttributes, TaskId, TaskType};

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let name = prop_oneof!["[ab][-_.]?[ab]?", Just("orders-1".to_owned()), Just(String::new())];
    let tag = prop_oneof![Just(""), Just("nightly"), Just("Hourly!")];
    prop::collection::vec((name, tag, any::<bool>(), any::<bool>()), 0..30).prop_map(|tasks| {
        let task = |(n, (name, tag, running, scheduled)): (usize, (String, &str, bool, bool))| Task {
            id: TaskId::new(format!("t{n}")).unwrap(),
            name: name.into(),
            state: Some(if running { RunState::Running } else { RunState::Stopped }),
            last_run: LastRun::Unknown,
            type_: Some(if scheduled { TaskType::Scheduled } else { TaskType::RealTime }),
            attributes: Some(Arc::new(TaskAttributes { tag: tag.into(), ..TaskAttributes::default() })),
        };
        tasks.into_iter().enumerate().map(task).collect()
    })
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![Just(By::Name), Just(By::Tag), Just(By::App), Just(By::Type), Just(By::State)]
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![Just(Choice::Ids), Just(Choice::Names), Just(Choice::Selector)]
}

proptest! {
    #[test]
    fn each_task_is_in_one_group_of_its_state_and_the_order_of_the_list_makes_no_difference(
        tasks in tasks(), by in by(), choice in choice()
    ) {
        let groups = choose(&tasks, by, choice, BTreeSet::new());
        let ids: Vec<_> = groups.iter().flat_map(|group| &group.tasks).map(|task| &task.id).collect();
        let unique: BTreeSet<_> = ids.iter().collect();
        prop_assert!(unique.len() == ids.len() && ids.len() == tasks.len());
        let names: BTreeSet<_> = groups.iter().map(|group| &group.name).collect();
        prop_assert_eq!(names.len(), groups.len());
        for group in &groups {
            prop_assert!(group.tasks.iter().all(|task| task.state == Some(group.state)));
            prop_assert!(crate::crd::is_dns_name(&group.name) && group.name.len() <= 63, "{}", group.name);
        }
        let reversed: Vec<Task> = tasks.iter().rev().cloned().collect();
        let again = choose(&reversed, by, choice, BTreeSet::new());
        let shape = |groups: &[NewGroup<'_>]| -> Vec<_> {
            groups.iter().map(|group| (group.name.clone(), group.tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>())).collect()
        };
        prop_assert_eq!(shape(&groups), shape(&again));
    }
}
