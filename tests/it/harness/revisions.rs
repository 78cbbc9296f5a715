//! Every revision that the groups of a namespace had. The recorder checks each as it arrives: a
//! status must be true at all times, not only at the end of a test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, DesiredState, FdiTaskGroup, FdiTaskGroupSpec, TaskSelector, condition_types};
use fdi_simulator::{Entry, InstanceHandle, ListedTask};
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A newer list may have arrived by the time the watch shows a status that an older list justified.
const IN_FLIGHT: usize = 2;

/// The recorder. When it is dropped after a false revision it fails the test.
pub struct Revisions {
    seen: Arc<Mutex<Vec<FdiTaskGroup>>>,
    wrong: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    recording: JoinHandle<()>,
}

impl Revisions {
    pub fn record(client: Client, namespace: &str, service: InstanceHandle) -> Self {
        let api: Api<FdiTaskGroup> = Api::namespaced(client, namespace);
        let (seen, wrong) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (counter, count) = watch::channel(0);
        let (all, errors) = (Arc::clone(&seen), Arc::clone(&wrong));
        let recording = tokio::spawn(async move {
            let mut events = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
            let mut listed = Vec::new();
            while let Some(event) = events.next().await {
                let new = match event {
                    Ok(Event::Apply(group)) => vec![group],
                    Ok(Event::InitApply(group)) => {
                        listed.push(group);
                        continue;
                    }
                    // The groups of a list were there together.
                    Ok(Event::InitDone) => std::mem::take(&mut listed),
                    _ => continue,
                };
                all.lock().unwrap().extend(new.iter().cloned());
                for group in &new {
                    let others = specs_of_others(&all.lock().unwrap(), group);
                    if let Err(error) = check(group, &others, &service) {
                        errors.lock().unwrap().push(error);
                    }
                }
                counter.send_modify(|n| *n += new.len());
            }
        });
        Self { seen, wrong, count, recording }
    }

    /// All revisions of a group so far.
    pub fn of(&self, name: &str) -> Vec<FdiTaskGroup> {
        self.seen.lock().unwrap().iter().filter(|group| group.name_any() == name).cloned().collect()
    }

    /// Waits until the newest revision of the group fulfils the condition.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        within: Duration,
        condition: impl Fn(&FdiTaskGroup) -> bool,
    ) -> FdiTaskGroup {
        let mut count = self.count.clone();
        let newest = || self.seen.lock().unwrap().iter().rev().find(|group| group.name_any() == name).cloned();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(group) = newest().filter(&condition) {
                    return group;
                }
                count.changed().await.expect("the recorder runs");
            }
        };
        match tokio::time::timeout(within, found).await {
            Ok(group) => group,
            Err(tokio::time::error::Elapsed { .. }) => {
                panic!("{name} did not become {what} within {within:?}; it is {:#?}", newest().map(|g| g.status))
            }
        }
    }
}

impl Drop for Revisions {
    fn drop(&mut self) {
        self.recording.abort();
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty() || std::thread::panicking(), "false statuses:\n{}", wrong.join("\n"));
    }
}

/// What other groups chose at some time, if that matters: what somebody else may own is not checked
/// for a selector.
fn specs_of_others(seen: &[FdiTaskGroup], group: &FdiTaskGroup) -> Vec<FdiTaskGroupSpec> {
    let others = seen.iter().filter(|other| group.spec.selector.is_some() && other.name_any() != group.name_any());
    others.map(|other| other.spec.clone()).collect()
}

fn check(group: &FdiTaskGroup, others: &[FdiTaskGroupSpec], service: &InstanceHandle) -> Result<(), String> {
    let name = group.name_any();
    let wrong = |what: &str| Err(format!("{name}: {what}: {:?}", group.status));
    let Some(status) = &group.status else { return Ok(()) };
    if status.observed_generation < 0 {
        return Ok(());
    }
    let condition = |type_: &str| status.conditions.iter().find(|c| c.type_ == type_);
    if Some(status.observed_generation) > group.metadata.generation {
        return wrong("observedGeneration is ahead");
    }
    if status.conditions.iter().any(|c| c.observed_generation != status.observed_generation) {
        return wrong("a condition is of another generation");
    }
    if condition(condition_types::RECONCILING).is_some() && condition(condition_types::STALLED).is_some() {
        return wrong("both Reconciling and Stalled");
    }
    let Some(counts) = status.tasks else { return wrong("no counts") };
    if counts.total != counts.ready + counts.pending + counts.failed + counts.conflicting {
        return wrong("the counts do not add up");
    }
    if serde_json::to_vec(status).unwrap().len() > 96 * 1024 {
        return wrong("larger than 96 KiB");
    }
    let ready = condition(condition_types::READY).is_some_and(|c| c.status == ConditionStatus::True);
    let is_current = Some(status.observed_generation) == group.metadata.generation;
    if ready && is_current && !backed_by_a_list(&group.spec, others, service) {
        return wrong("Ready, but no recent list shows it");
    }
    Ok(())
}

/// Whether one of the newest answered lists shows every task of the group in the desired state.
fn backed_by_a_list(spec: &FdiTaskGroupSpec, others: &[FdiTaskGroupSpec], service: &InstanceHandle) -> bool {
    let wanted = spec.desired_state == DesiredState::Running;
    let mut lists = service.list_calls();
    lists.retain(|list| list.answered_at.is_some() && list.status == Some(200));
    // A list may have several pages, a few milliseconds apart.
    let recent: Vec<&Entry> = lists.iter().rev().take(IN_FLIGHT * 2).collect();
    let shown = |id: &str, by: &Entry| {
        let pages = recent.iter().filter(|page| page.arrived_at <= by.arrived_at);
        pages.flat_map(|page| &*page.listed).find(|task| &*task.id == id).map(|task| task.running)
    };
    let chosen = |task: &ListedTask| {
        let elsewhere = || others.iter().any(|other| lists_task(other, task) || selects(other, task));
        lists_task(spec, task) || (selects(spec, task) && !elsewhere())
    };
    recent.iter().any(|list| {
        spec.task_ids.iter().all(|id| shown(id, list) == Some(wanted))
            && list.listed.iter().filter(|task| chosen(task)).all(|task| task.running == wanted)
    })
}

fn lists_task(spec: &FdiTaskGroupSpec, task: &ListedTask) -> bool {
    spec.task_ids.contains(&task.id) || spec.task_names.contains(&task.name)
}

/// Only selectors by the beginning of a name are checked, the others choose nothing here.
fn selects(spec: &FdiTaskGroupSpec, task: &ListedTask) -> bool {
    let Some(selector) = &spec.selector else { return false };
    let by_name = TaskSelector { names: selector.names.clone(), max_tasks: selector.max_tasks, ..Default::default() };
    let starts = |pattern: &Arc<str>| pattern.strip_suffix('*').is_some_and(|start| task.name.starts_with(start));
    **selector == by_name && selector.names.iter().any(starts)
}
