//! The two kinds. Their doc comments are the API reference that `kubectl explain` shows.

mod cached_group;
mod conditions;
mod desired_state;
mod group;
mod instance;
mod lenient;
mod metadata;
mod names;
mod schema;
mod validation;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use cached_group::CachedGroup;
pub use conditions::{
    Condition, ConditionStatus, condition_types, event_actions, event_reasons, failure_codes, find_condition, messages,
    pending_reasons, reasons, whole_seconds,
};
pub use desired_state::DesiredState;
pub use group::{
    DeletionPolicy, DeviatingTask, FailedRun, FdiTaskGroup, FdiTaskGroupSpec, FdiTaskGroupStatus, HistoryEntry,
    InstanceRef, MaxTasks, PendingTask, SelectionStatus, TaskCounts, TaskExclusion, TaskFailure, TaskSelector,
    TaskType, Trigger,
};
pub use instance::{
    Auth, FdiInstance, FdiInstanceSpec, FdiInstanceStatus, InstanceKey, InstanceTasks, RateLimit, SecretAuth, SecretRef,
};
pub use metadata::{CachedMetadata, REQUESTED_AT, requested_at, resource_version};
pub use names::is_dns_name;
pub use validation::validate;

/// On a group with `deletionPolicy: Stop`, so that its tasks are stopped before it is gone.
pub const FINALIZER: &str = "fdi.romaconnect.dev/stop-tasks";

/// The CRDs as they are shipped in `crds/`.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![schema::finish(FdiInstance::crd()), schema::finish(FdiTaskGroup::crd())]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(spec: serde_json::Value) -> FdiTaskGroupSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_group_whose_spec_becomes_unreadable_still_names_its_tasks_and_its_deletion_policy() {
        let spec = group(json!({"instanceRef": {"name": "roma"}, "desiredState": "Paused", "taskIds": ["a", "b"],
            "deletionPolicy": "Stop"}));
        assert!(spec.decode_error.as_ref().unwrap().contains("Paused"), "{:?}", spec.decode_error);
        assert_eq!((spec.instance_ref.name.as_str(), spec.task_ids.len()), ("roma", 2));
        assert_eq!(spec.deletion_policy, DeletionPolicy::Stop);
        let spec = group(json!({"instanceRef": 7, "desiredState": "Running", "taskIds": {"a": 1}}));
        assert!(spec.decode_error.is_some() && spec.instance_ref.name.is_empty() && spec.task_ids.is_empty());
    }

    #[test]
    fn names_that_no_object_can_have_are_rejected_before_they_are_used() {
        for name in ["", "?watch=1", "../x", "a b", "A", "a..b", "-a", "a-", "a\u{202e}b", &"a".repeat(254)] {
            assert!(!is_dns_name(name), "{name}");
            let spec = group(json!({"instanceRef": {"name": name}, "desiredState": "Running", "taskIds": ["a"]}));
            assert!(spec.decode_error.unwrap().contains("spec.instanceRef.name"));
            assert_eq!(spec.instance_ref.name, "");
            let instance: FdiInstanceSpec = serde_json::from_value(json!({"region": "cn-north-4", "projectId": "p",
                "instanceId": "i", "auth": {"token": {"secretRef": {"name": name}}}}))
            .unwrap();
            assert!(instance.decode_error.unwrap().contains("spec.auth.token.secretRef.name"));
            assert!(instance.auth.token.is_none());
        }
        for name in ["a", "0", "a-b.c", "roma-credentials", &"a".repeat(253)] {
            assert!(is_dns_name(name), "{name}");
        }
    }

    #[test]
    fn an_error_of_a_spec_is_one_line_without_control_characters() {
        let spec =
            group(json!({"instanceRef": {"name": "roma"}, "desiredState": format!("a\n\u{7}{}", "x".repeat(9_000)),
            "taskIds": []}));
        let error = spec.decode_error.unwrap();
        assert!(error.len() <= 256 && !error.contains(char::is_control), "{error}");
    }
}
