//! What a simulator starts with, as a JSON file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::fault::Fault;
use crate::handle::Handle;
use crate::policy::Policies;
use crate::sign_in::{AccessKey, User};
use crate::task::NewTasks;

/// Instances, tasks, and who may sign in. Every part may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    pub policies: Policies,
    /// Project ID → name (mostly that of a region), as IAM lists them.
    pub projects: BTreeMap<String, String>,
    pub instances: Vec<PresetInstance>,
    pub tokens: Vec<PresetToken>,
    /// By access key.
    pub keys: BTreeMap<String, AccessKey>,
    pub users: Vec<User>,
    pub faults: Vec<Fault>,
}

/// An instance with its tasks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetInstance {
    pub project: String,
    pub instance: String,
    #[serde(default)]
    pub tasks: Vec<NewTasks>,
    /// Its own policies, in place of the general ones.
    #[serde(default)]
    pub policies: Option<Policies>,
}

/// A token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetToken {
    pub token: String,
    pub project: String,
    #[serde(default = "a_day")]
    pub valid_seconds: u64,
}

fn a_day() -> u64 {
    24 * 60 * 60
}

impl Preset {
    /// Applies everything to a simulator.
    pub fn apply(self, sim: &Handle) {
        sim.set_policies(|policies| *policies = self.policies);
        for (id, name) in &self.projects {
            sim.set_project(id, name);
        }
        for preset in self.instances {
            let instance = sim.instance(&preset.project, &preset.instance);
            if let Some(own) = preset.policies {
                instance.set_policies(|policies| *policies = own);
            }
            for tasks in &preset.tasks {
                instance.create(tasks);
            }
        }
        for preset in self.tokens {
            sim.set_token(&preset.token, Some(&preset.project), Duration::from_secs(preset.valid_seconds));
        }
        for (access, key) in self.keys {
            sim.set_key(&access, key);
        }
        for user in self.users {
            sim.set_user(user);
        }
        for fault in self.faults {
            sim.fault(fault.on, fault.effect);
        }
    }
}
