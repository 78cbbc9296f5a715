//! Reads the groups of a plan from YAML, as the API server would store them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize as _;
use serde_json::Value;

use crate::crd::{self, FdiInstanceSpec, FdiTaskGroup, InstanceKey};
use crate::fdi::text::listed;

/// Most instances that an error names.
const NAMED_MAX: usize = 5;

/// The groups of one instance.
#[derive(Debug, PartialEq)]
pub struct Manifests {
    pub groups: Vec<FdiTaskGroup>,
    /// Their instance, if the file has it.
    pub instance: Option<FdiInstanceSpec>,
}

/// Documents, and the items of lists in them, of kinds other than ours are ignored.
///
/// # Errors
/// Everything that the API server would refuse, one sentence each.
pub fn read(text: &str) -> Result<Manifests, Vec<String>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| vec![error.to_string()])?;
    let mut objects = Vec::new();
    for document in documents {
        flatten(document, &mut objects);
    }
    let mut errors = Vec::new();
    let mut seen = BTreeMap::new();
    let (mut groups, mut instances) = (Vec::new(), Vec::new());
    for object in objects {
        let Some(crd) = crd::all().into_iter().find(|crd| object["kind"] == crd.spec.names.kind.as_str()) else {
            continue;
        };
        let kind = crd.spec.names.kind.clone();
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        errors.extend(crd::validate(&crd, &object).into_iter().map(|error| format!("{kind} \"{name}\": {error}")));
        let count = seen.entry((kind.clone(), namespace.clone(), name.clone())).or_insert(0);
        *count += 1;
        if *count == 2 {
            errors.push(format!("{kind} \"{name}\": there are several documents of this name"));
        }
        if kind == "FdiTaskGroup" {
            match FdiTaskGroup::deserialize(object) {
                Ok(group) => groups.push(group),
                Err(error) => errors.push(format!("{kind} \"{name}\": {error}")),
            }
        } else {
            instances.push((InstanceKey { namespace, name }, object));
        }
    }
    let keys: BTreeSet<InstanceKey> = groups.iter().map(key).collect();
    match keys.len() {
        _ if !errors.is_empty() => {}
        0 => errors.push("the file has no FdiTaskGroup".to_owned()),
        1 => {}
        _ => errors.push(format!(
            "a plan is made for one instance, and the groups refer to {}",
            listed(keys.iter().map(|key| format!("\"{}\"", key.to_string().trim_start_matches('/'))), NAMED_MAX)
        )),
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let instance = instances.into_iter().find(|(key, _)| keys.contains(key)).map(|(_, object)| object);
    let instance = instance.map(|object| serde_json::from_value(object["spec"].clone()).unwrap_or_default());
    complete(&mut groups);
    Ok(Manifests { groups, instance })
}

/// Lists may contain lists.
fn flatten(mut document: Value, objects: &mut Vec<Value>) {
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
            for item in items {
                flatten(item, objects);
            }
        }
        _ => objects.push(document),
    }
}

fn key(group: &FdiTaskGroup) -> InstanceKey {
    InstanceKey {
        namespace: group.metadata.namespace.clone().unwrap_or_default(),
        name: group.spec.instance_ref.name.clone(),
    }
}

/// Sets what the API server would: a group that is not there yet is created now, so it is the
/// newest.
fn complete(groups: &mut [FdiTaskGroup]) {
    let created = groups.iter().filter_map(|group| group.metadata.creation_timestamp.as_ref()).map(|time| time.0);
    let newest = created.max().unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::now());
    let next = newest.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    for group in groups {
        let metadata = &mut group.metadata;
        metadata.uid.get_or_insert_with(|| metadata.name.clone().unwrap_or_default());
        metadata.creation_timestamp.get_or_insert(Time(next));
        // As if nothing had just been edited: a partial batch is not held back.
        let mut status = group.status.take().unwrap_or_default();
        status.observed_generation = metadata.generation.unwrap_or_default();
        group.status = Some(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, spec: &str) -> String {
        format!(
            "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiTaskGroup\nmetadata: {{name: {name}}}\n\
             spec: {{instanceRef: {{name: roma}}, desiredState: Running, {spec}}}\n"
        )
    }

    fn errors(text: &str) -> String {
        read(text).unwrap_err().join("\n")
    }

    #[test]
    fn lists_are_read_wherever_they_are() {
        let item = |name: &str| group(name, "taskIds: [t]").replace('\n', "\n  ");
        let list = |kind: &str, items: &str| format!("apiVersion: v1\nkind: {kind}\nitems:\n{items}");
        let text = format!(
            "{}---\n{}- {}\n- {}\n---\n# nothing\n---\n{}",
            group("a", "taskIds: [t]"),
            list("List", ""),
            item("b").trim_end(),
            list("FdiTaskGroupList", &format!("- {}", item("c"))).replace('\n', "\n  ").trim_end(),
            group("d", "taskIds: [t]")
        );
        let names: Vec<String> =
            read(&text).unwrap().groups.into_iter().filter_map(|group| group.metadata.name).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_group_that_is_not_there_yet_is_the_newest() {
        let live =
            group("z", "taskIds: [t]").replace("{name: z}", "{name: z, creationTimestamp: '2100-01-01T00:00:00Z'}");
        let groups = read(&format!("{}---\n{live}", group("a", "taskIds: [t]"))).unwrap().groups;
        assert!(groups[0].metadata.creation_timestamp > groups[1].metadata.creation_timestamp);
    }

    #[test]
    fn what_cannot_be_planned_is_an_error_with_the_name_of_its_group() {
        let twice = format!("{}---\n{}", group("a", "taskIds: [t]"), group("a", "taskIds: [u]"));
        assert_eq!(errors(&twice), "FdiTaskGroup \"a\": there are several documents of this name");
        let both = format!("{}---\n{}", group("a", "taskIds: []"), group("b", "taskIds: [t], more: 1"));
        assert_eq!(
            errors(&both),
            "FdiTaskGroup \"a\": spec.taskIds: must have at least 1 items\nFdiTaskGroup \"b\": spec.more: unknown field"
        );
        let other = format!(
            "{}---\n{}",
            group("a", "taskIds: [t]"),
            group("b", "taskIds: [t]").replace("name: roma", "name: other")
        );
        assert_eq!(errors(&other), "a plan is made for one instance, and the groups refer to \"other\", \"roma\"");
        assert_eq!(errors("apiVersion: v1\nkind: Secret\n"), "the file has no FdiTaskGroup");
        assert!(errors("a: [").contains("line"));
    }

    #[test]
    fn the_instance_of_the_groups_is_taken_from_the_file_if_it_is_there() {
        let instance = "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiInstance\nmetadata: {name: roma}\nspec: {region: \
                        cn-north-4, projectId: p, instanceId: i, suspend: true, auth: {token: {secretRef: {name: s}}}}\n";
        let read = read(&format!("{instance}---\n{}", group("a", "taskIds: [t]"))).unwrap();
        assert!(read.instance.unwrap().suspend);
    }
}
