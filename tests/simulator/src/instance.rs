//! The controls of one simulated instance.

use std::fmt;
use std::time::Duration;

use crate::clock::Millis;
use crate::fault::{Effect, Trigger};
use crate::handle::{Handle, TimedOut};
use crate::log::{Entry, Filter, Operation};
use crate::policy::Policies;
use crate::task::{LastRun, Manner, NewTasks, Task, TaskRun};
use crate::wire::Refusal;

/// The instance has no task of this ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTask(pub String);

impl fmt::Display for UnknownTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulated instance has no task \"{}\"", self.0)
    }
}

impl std::error::Error for UnknownTask {}

/// The controls of one instance.
#[derive(Debug, Clone)]
pub struct InstanceHandle {
    pub(crate) handle: Handle,
    pub(crate) project: String,
    pub(crate) instance: String,
}

impl InstanceHandle {
    pub fn project(&self) -> &str {
        &self.project
    }

    pub fn id(&self) -> &str {
        &self.instance
    }

    /// Creates `count` stopped scheduled tasks and returns their IDs.
    pub fn create_tasks(&self, count: usize) -> Vec<String> {
        self.create(&NewTasks { count, ..NewTasks::default() })
    }

    /// Creates tasks and returns their IDs.
    pub fn create(&self, new: &NewTasks) -> Vec<String> {
        let ids = self.handle.shared.change(|world, now| world.create_tasks(&self.project, &self.instance, new, now));
        ids.iter().map(ToString::to_string).collect()
    }

    /// All tasks as they are now, in order of creation.
    pub fn tasks(&self) -> Vec<Task> {
        self.handle.shared.read(|world, now| {
            world.settled(&self.project, &self.instance, now).map_or(Vec::new(), |(found, _)| found.tasks.clone())
        })
    }

    /// # Errors
    /// [`UnknownTask`]
    pub fn task(&self, id: &str) -> Result<Task, UnknownTask> {
        self.on_task(id, |task, _, _| task.clone())
    }

    /// The IDs of the tasks that are running now.
    pub fn running(&self) -> Vec<String> {
        self.tasks().iter().filter(|task| task.running).map(|task| task.id.to_string()).collect()
    }

    /// Turns a task on or off as a person at the console would: at once, whatever its manners.
    ///
    /// # Errors
    /// [`UnknownTask`]
    pub fn set_running(&self, id: &str, running: bool) -> Result<(), UnknownTask> {
        self.on_task(id, |task, policies, now| task.switch(running, now, policies))
    }

    /// # Errors
    /// [`UnknownTask`]
    pub fn set_last_run(&self, id: &str, last_run: LastRun) -> Result<(), UnknownTask> {
        self.on_task(id, |task, _, now| task.set_last_run(last_run, None, now))
    }

    /// A run of the task ends this way now (or begins, for RUNNING): `execute_status` and the
    /// monitor log show it. Without a code the log has a general one for that state.
    ///
    /// # Errors
    /// [`UnknownTask`]
    pub fn record_run(&self, id: &str, execute_status: LastRun, code: Option<u16>) -> Result<(), UnknownTask> {
        self.on_task(id, |task, _, now| task.set_last_run(execute_status, code, now))
    }

    /// Makes the runs of a task fail with this cause until [`Self::recover_runs`]: one at once
    /// (when the task is on), one after each start, and with `every` further ones at that interval.
    /// The same as [`Manner::FailsRuns`], beside the manners that the task has.
    ///
    /// # Errors
    /// [`UnknownTask`]
    pub fn fail_runs(&self, id: &str, code: u16, every: Option<Duration>) -> Result<(), UnknownTask> {
        let every_ms = every.map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        let failing = Manner::FailsRuns { code, every_ms, times: None };
        self.on_task(id, |task, _, now| task.set_failing_runs(Some(failing), now))
    }

    /// Runs succeed again. A scheduled task that is on has a successful one at once; one in real
    /// time runs on.
    ///
    /// # Errors
    /// [`UnknownTask`]
    pub fn recover_runs(&self, id: &str) -> Result<(), UnknownTask> {
        self.on_task(id, |task, _, now| task.set_failing_runs(None, now))
    }

    /// The runs of a task, oldest first.
    ///
    /// # Errors
    /// [`UnknownTask`]
    pub fn runs(&self, id: &str) -> Result<Vec<TaskRun>, UnknownTask> {
        self.on_task(id, |task, _, _| task.runs().cloned().collect())
    }

    /// Replaces the manners of a task; with none it behaves well again.
    ///
    /// # Errors
    /// [`UnknownTask`]
    pub fn set_manners(&self, id: &str, manners: impl Into<Vec<Manner>>) -> Result<(), UnknownTask> {
        self.on_task(id, |task, _, now| task.set_manners(manners.into(), now))
    }

    /// # Errors
    /// [`UnknownTask`]
    pub fn rename_task(&self, id: &str, name: &str) -> Result<(), UnknownTask> {
        self.on_task(id, |task, _, _| name.clone_into(&mut task.name))
    }

    /// # Errors
    /// [`UnknownTask`]
    pub fn delete_task(&self, id: &str) -> Result<(), UnknownTask> {
        self.handle.shared.change(|world, _| {
            let tasks = &mut world.instance(&self.project, &self.instance).tasks;
            let at = tasks.iter().position(|task| &*task.id == id).ok_or_else(|| UnknownTask(id.to_owned()))?;
            tasks.remove(at);
            Ok(())
        })
    }

    /// The policies in force here.
    pub fn policies(&self) -> Policies {
        self.handle.shared.read(|world, _| world.policies_of(&self.project, &self.instance).clone())
    }

    /// Changes the policies of this instance; from then on the general ones no longer apply here.
    pub fn set_policies(&self, set: impl FnOnce(&mut Policies)) {
        self.handle.shared.change(|world, _| {
            let mut policies = world.policies_of(&self.project, &self.instance).clone();
            set(&mut policies);
            world.instance(&self.project, &self.instance).policies = Some(policies);
        });
    }

    /// Refuses every batch this way (a frozen instance, an exhausted quota); `None`: no longer.
    pub fn refuse_batches(&self, refusal: Option<Refusal>) {
        self.handle.shared.change(|world, _| world.instance(&self.project, &self.instance).refuses_batches = refusal);
    }

    /// Only these access keys are accepted here; others get 401 APIGW.0301 as unknown ones do,
    /// however right their signature. Tokens are not affected.
    pub fn accept_only_keys(&self, keys: &[&str]) {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        self.handle.shared.change(|world, _| {
            world.instance(&self.project, &self.instance).accepted_keys = Some(keys);
        });
    }

    /// Accepts every right access key again.
    pub fn accept_all_keys(&self) {
        self.handle.shared.change(|world, _| world.instance(&self.project, &self.instance).accepted_keys = None);
    }

    /// Sets a fault for requests of this instance and returns its ID.
    pub fn fault(&self, on: Trigger, effect: Effect) -> u64 {
        let on = Trigger { project: Some(self.project.clone()), instance: Some(self.instance.clone()), ..on };
        self.handle.fault(on, effect)
    }

    /// All log entries of this instance.
    pub fn calls(&self) -> Vec<Entry> {
        self.handle.calls(&self.filter(None))
    }

    /// The batch calls of this instance.
    pub fn batch_calls(&self) -> Vec<Entry> {
        self.handle.calls(&self.filter(Some(Operation::Batch)))
    }

    /// The list requests of this instance.
    pub fn list_calls(&self) -> Vec<Entry> {
        self.handle.calls(&self.filter(Some(Operation::List)))
    }

    /// Waits until lists show these tasks, or all when none is named, in this state.
    ///
    /// # Errors
    /// [`TimedOut`] after `within`, in real time.
    pub async fn wait_until_all(&self, running: bool, ids: &[String], within: Duration) -> Result<(), TimedOut> {
        let wanted = |task: &Task| ids.is_empty() || ids.iter().any(|id| **id == *task.id);
        self.handle
            .wait_for(within, |view| {
                let tasks = view.tasks(&self.project, &self.instance);
                tasks.iter().filter(|task| wanted(task)).all(|task| task.running == running).then_some(())
            })
            .await
    }

    fn filter(&self, operation: Option<Operation>) -> Filter {
        Filter {
            operation,
            project: Some(self.project.clone()),
            instance: Some(self.instance.clone()),
            ..Filter::default()
        }
    }

    fn on_task<T>(&self, id: &str, act: impl FnOnce(&mut Task, &Policies, Millis) -> T) -> Result<T, UnknownTask> {
        self.handle.shared.change(|world, now| {
            let found = world.settled(&self.project, &self.instance, now);
            let task = found.and_then(|(found, policies)| Some((found.task_mut(id)?, policies)));
            task.map(|(task, policies)| act(task, &policies, now)).ok_or_else(|| UnknownTask(id.to_owned()))
        })
    }
}
