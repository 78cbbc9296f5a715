//! What the neighbour creates: a thousand groups of a thousand IDs each.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{Environment, PROJECT};

/// The operator's API group.
pub const SERVED: &str = "fdi.romaconnect.dev";
/// That of the copies.
pub const UNSERVED: &str = "unserved.example.com";

pub const GROUPS: usize = 1000;
pub const INSTANCES: usize = 40;
/// Of a group, and of an instance.
pub const TASKS: usize = 1000;

/// Creates the CRDs once more, in an API group that no operator serves.
pub async fn copy_crds(env: &Environment) {
    let crds = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/crds/fdi.romaconnect.dev.yaml")).unwrap();
    let copies = crds.replace(SERVED, UNSERVED);
    let applied = env.plane.kubectl().run_with_input(["apply", "--server-side", "-f", "-"], &copies).await.unwrap();
    assert!(applied.status.success(), "{}", applied.stderr);
    let waited = env.plane.kubectl().run(["wait", "--for=condition=Established", "crd", "--all"]).await.unwrap();
    assert!(waited.status.success());
}

pub fn resource(api_group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(api_group, "v1alpha1", kind))
}

pub fn object(resource: &ApiResource, name: &str, spec: &Value) -> DynamicObject {
    DynamicObject::new(name, resource).data(json!({ "spec": spec }))
}

/// Names as long and as odd as they may be.
pub fn group_name(group: usize) -> String {
    format!("{}-{group}", "odd-".repeat(14))
}

pub fn instance_name(instance: usize) -> String {
    format!("neighbour-{instance}")
}

/// Every fourth signs in with a Secret that the service refuses.
pub fn instance_spec(env: &Environment, instance: usize) -> Value {
    let secret = if instance % 4 == 3 { "refused" } else { "token" };
    json!({
        "endpoint": env.sim.url(), "projectId": PROJECT, "instanceId": instance_name(instance),
        "auth": {"token": {"secretRef": {"name": secret}}}, "pollIntervalSeconds": 10,
        "rateLimit": {"requestsPerSecond": 100, "maxConcurrentCalls": 10},
    })
}

pub fn task_id(instance: usize, task: usize) -> String {
    format!("{instance:08x}{task:024x}")
}

/// All tasks of the instance, which one group owns and the others conflict with; or a part of them
/// and many that do not exist. `shift` chooses which.
pub fn task_ids(group: usize, shift: usize) -> Vec<String> {
    let exist = if group.is_multiple_of(3) { TASKS } else { TASKS / 20 };
    let first = (group * 37 + shift) % TASKS;
    (0..TASKS)
        .map(|n| if n < exist { task_id(group % INSTANCES, (first + n) % TASKS) } else { format!("no-{group}-{n}") })
        .collect()
}

pub fn group_spec(group: usize) -> Value {
    let mut spec = json!({
        "instanceRef": {"name": instance_name(group % INSTANCES)},
        "desiredState": if group.is_multiple_of(2) { "Running" } else { "Stopped" },
        "taskIds": task_ids(group, 0),
    });
    if group % 10 == 9 {
        let pattern = "*o*r*d*e*r*s*".to_owned();
        spec["selector"] = json!({"names": vec![pattern; 100]});
    }
    spec
}
