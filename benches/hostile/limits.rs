//! What the shipped manifest allows.

use std::time::Duration;

use serde_json::Value;

const MANIFEST: &str = include_str!("../../deploy/base/deployment.yaml");

pub struct Limits {
    /// In MiB.
    pub memory: f64,
    pub probe_timeout: Duration,
}

impl Limits {
    pub fn of_the_manifest() -> Self {
        let deployment: Value = serde_saphyr::from_str(MANIFEST).unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let memory = container["resources"]["limits"]["memory"].as_str().unwrap();
        Self {
            memory: memory.strip_suffix("Mi").expect("a limit in Mi").parse().unwrap(),
            probe_timeout: Duration::from_secs(container["livenessProbe"]["timeoutSeconds"].as_u64().unwrap()),
        }
    }
}
