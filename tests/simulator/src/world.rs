//! The state of the simulator: projects, instances and their tasks, who may sign in, faults, and
//! the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::Millis;
use crate::fault::{ActiveFault, Fault};
use crate::log::Entry;
use crate::policy::Policies;
use crate::sign_in::{HeldKey, Token, User};
use crate::signature::sha256_hex;
use crate::task::{NewTasks, Task};
use crate::wire::Refusal;

/// One ROMA Connect instance.
#[derive(Debug, Default)]
pub(crate) struct Instance {
    /// In order of creation.
    pub tasks: Vec<Task>,
    pub policies: Option<Policies>,
    /// Every batch is refused with this: a frozen instance, an exhausted quota.
    pub refuses_batches: Option<Refusal>,
    /// The only access keys that this instance accepts; all when absent.
    pub accepted_keys: Option<Vec<String>>,
    /// How many tasks have been created: numbers their names and IDs.
    made: usize,
}

impl Instance {
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| &*task.id == id)
    }

    pub fn task_mut(&mut self, id: &str) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| &*task.id == id)
    }

    pub fn settle(&mut self, now: Millis, policies: &Policies) {
        for task in &mut self.tasks {
            task.settle(now, policies);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub policies: Policies,
    /// Project ID → name.
    pub projects: BTreeMap<String, String>,
    /// By project ID and instance ID.
    pub instances: BTreeMap<(String, String), Instance>,
    pub tokens: HashMap<String, Token>,
    pub keys: BTreeMap<String, HeldKey>,
    pub users: Vec<User>,
    pub faults: Vec<ActiveFault>,
    pub log: Vec<Entry>,
    /// New connections are closed at once, open ones at their next request.
    pub refuses_connections: bool,
    pub refused_connections: u64,
    /// New connections are accepted and nothing is read from them; requests on open ones are held
    /// up.
    pub holds_connections: bool,
    made_faults: u64,
    pub made_tokens: u64,
}

impl World {
    /// The instance; created when it does not exist, and its project with it, named by its ID.
    pub fn instance(&mut self, project: &str, instance: &str) -> &mut Instance {
        self.projects.entry(project.to_owned()).or_insert_with(|| project.to_owned());
        self.instances.entry((project.to_owned(), instance.to_owned())).or_default()
    }

    /// The instance, if it exists.
    pub fn find(&self, project: &str, instance: &str) -> Option<&Instance> {
        self.instances.get(&(project.to_owned(), instance.to_owned()))
    }

    /// The policies in force for an instance.
    pub fn policies_of(&self, project: &str, instance: &str) -> &Policies {
        self.find(project, instance).and_then(|found| found.policies.as_ref()).unwrap_or(&self.policies)
    }

    /// The instance with everything done that is due by `now`, and its policies.
    pub fn settled(&mut self, project: &str, instance: &str, now: Millis) -> Option<(&mut Instance, Policies)> {
        let policies = self.policies_of(project, instance).clone();
        let found = self.instances.get_mut(&(project.to_owned(), instance.to_owned()))?;
        found.settle(now, &policies);
        Some((found, policies))
    }

    /// Creates tasks. Tasks whose IDs exist already are left as they are.
    pub fn create_tasks(&mut self, project: &str, instance: &str, new: &NewTasks, now: Millis) -> Vec<Arc<str>> {
        let holder = self.instance(project, instance);
        let wanted = if new.ids.is_empty() { new.count } else { new.ids.len() };
        let mut ids = Vec::with_capacity(wanted);
        for at in 0..wanted {
            holder.made += 1;
            let id: Arc<str> = match new.ids.get(at) {
                Some(id) => Arc::from(id.as_str()),
                None => Arc::from(&sha256_hex(format!("{project}/{instance}/{}", holder.made).as_bytes())[..32]),
            };
            if holder.task(&id).is_none() {
                let name = new.names.get(at).cloned().unwrap_or_else(|| format!("{}-{}", new.prefix, holder.made));
                holder.tasks.push(Task::new(Arc::clone(&id), name, new, now));
            }
            ids.push(id);
        }
        ids
    }

    /// Sets a fault and returns its ID.
    pub fn set_fault(&mut self, fault: Fault, now: Millis) -> u64 {
        self.made_faults += 1;
        let mut active = ActiveFault::new(self.made_faults, fault, now);
        let of = active.remembers().map(|(project, instance)| (project.to_owned(), instance.to_owned()));
        if let Some((found, _)) = of.and_then(|(project, instance)| self.settled(&project, &instance, now)) {
            active.remember(found.tasks.clone());
        }
        self.faults.push(active);
        self.made_faults
    }

    /// The entry with this `seq`: they are numbered from 1 and never removed.
    pub fn entry_mut(&mut self, seq: u64) -> &mut Entry {
        let at = usize::try_from(seq - 1).unwrap_or(usize::MAX);
        &mut self.log[at]
    }

    /// Does everything that is due, and returns when something will next change by itself.
    pub fn next_due(&mut self, now: Millis) -> Option<Millis> {
        for instance in self.instances.values_mut() {
            let policies = instance.policies.as_ref().unwrap_or(&self.policies).clone();
            instance.settle(now, &policies);
        }
        self.instances.values().flat_map(|instance| &instance.tasks).filter_map(Task::next_due).min()
    }
}
