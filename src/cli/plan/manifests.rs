//! Reads the groups of a plan from YAML, as the API server would store them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize as _;
use serde_json::Value;

use crate::crd::{self, FdiInstance, FdiTaskGroup, InstanceKey};

/// What files hold.
#[derive(Debug, PartialEq)]
pub struct Manifests {
    pub groups: Vec<FdiTaskGroup>,
    pub instances: BTreeMap<InstanceKey, FdiInstance>,
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
    let (mut groups, mut instances) = (Vec::new(), BTreeMap::new());
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
            match FdiInstance::deserialize(object) {
                Ok(instance) => drop(instances.insert(InstanceKey { namespace, name }, instance)),
                Err(error) => errors.push(format!("{kind} \"{name}\": {error}")),
            }
        }
    }
    // What the schema does not say.
    let undecodable = |group: &FdiTaskGroup| {
        let name = group.metadata.name.clone().unwrap_or_default();
        group.spec.decode_error.as_ref().map(|error| format!("FdiTaskGroup \"{name}\": {error}"))
    };
    if errors.is_empty() {
        errors.extend(groups.iter().filter_map(undecodable));
    }
    if errors.is_empty() && groups.is_empty() && instances.is_empty() {
        errors.push("the files have no FdiTaskGroup".to_owned());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    complete(&mut groups);
    Ok(Manifests { groups, instances })
}

/// Puts what the files hold over what the cluster stores, as if it were applied in `namespace`. An
/// object that is there keeps what only the API server sets. Returns the instances of the files'
/// groups.
pub fn overlay(
    files: Manifests,
    namespace: &str,
    groups: &mut Vec<FdiTaskGroup>,
    instances: &mut BTreeMap<InstanceKey, FdiInstance>,
) -> Vec<InstanceKey> {
    let mut keys = Vec::new();
    for mut group in files.groups {
        let own = group.metadata.namespace.get_or_insert_with(|| namespace.to_owned()).clone();
        let same = |stored: &&mut FdiTaskGroup| {
            stored.metadata.name == group.metadata.name && stored.metadata.namespace.as_ref() == Some(&own)
        };
        match groups.iter_mut().find(same) {
            Some(stored) if stored.spec != group.spec => {
                stored.spec = group.spec.clone();
                // An edit clears what is remembered of failed attempts.
                stored.status.iter_mut().for_each(|status| Arc::make_mut(status).failures.clear());
            }
            Some(_) => {}
            None => groups.push(group.clone()),
        }
        keys.push(key(&group));
    }
    for (mut key, instance) in files.instances {
        if key.namespace.is_empty() {
            namespace.clone_into(&mut key.namespace);
        }
        match instances.get_mut(&key) {
            Some(stored) => stored.spec = instance.spec,
            None => drop(instances.insert(key, instance)),
        }
    }
    keys
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

/// The instance that a group refers to.
pub fn key(group: &FdiTaskGroup) -> InstanceKey {
    InstanceKey {
        namespace: group.metadata.namespace.clone().unwrap_or_default(),
        name: group.spec.instance_ref.name.clone(),
    }
}

/// Sets what the API server would: a group that is not there yet is created now, so it is the
/// newest.
pub fn complete(groups: &mut [FdiTaskGroup]) {
    let created = groups.iter().filter_map(|group| group.metadata.creation_timestamp.as_ref()).map(|time| time.0);
    let newest = created.max().unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::now());
    let next = newest.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    for group in groups {
        let metadata = &mut group.metadata;
        metadata.uid.get_or_insert_with(|| metadata.name.clone().unwrap_or_default());
        metadata.creation_timestamp.get_or_insert(Time(next));
        // As if nothing had just been edited: a partial batch is not held back.
        let status = Arc::make_mut(group.status.get_or_insert_default());
        status.observed_generation = metadata.generation.unwrap_or_default();
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
        assert_eq!(errors("apiVersion: v1\nkind: Secret\n"), "the files have no FdiTaskGroup");
        assert!(errors("a: [").contains("line"));
        assert!(errors(&group("a", "suspend: true")).contains("at least one of taskIds, taskNames and selector"));
    }

    #[test]
    fn the_instance_of_the_groups_is_taken_from_the_file_if_it_is_there() {
        let instance = "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiInstance\nmetadata: {name: roma}\nspec: {region: \
                        cn-north-4, projectId: p, instanceId: i, suspend: true, auth: {token: {secretRef: {name: s}}}}\n";
        let read = read(&format!("{instance}---\n{}", group("a", "taskIds: [t]"))).unwrap();
        assert!(read.instances.values().all(|instance| instance.spec.suspend) && read.instances.len() == 1);
    }
}
