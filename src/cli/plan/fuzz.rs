//! Any YAML through `plan`: what it reads is what the API server would store.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::BTreeMap;

use super::manifests;
use crate::crd;

pub fn manifests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = match manifests::read(text) {
        Ok(read) => read,
        Err(errors) => {
            assert!(!errors.is_empty() && errors.iter().all(|error| !error.trim().is_empty()), "{errors:?}");
            return;
        }
    };
    assert!(!(read.groups.is_empty() && read.instances.is_empty()));
    let crds = crd::all();
    let schema = |kind: &str| crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    for group in &read.groups {
        let stored = serde_json::to_value(group).unwrap();
        let errors = crd::validate(schema("FdiTaskGroup"), &stored);
        assert!(errors.is_empty(), "{errors:?} in {stored}");
        assert!(group.metadata.creation_timestamp.is_some());
    }
    let (mut groups, mut instances) = (Vec::new(), BTreeMap::new());
    let keys = manifests::overlay(read, "default", &mut groups, &mut instances);
    assert!(groups.iter().all(|group| keys.contains(&manifests::key(group))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::corpus;

    #[test]
    fn no_yaml_makes_plan_panic_or_read_what_the_api_server_would_refuse() {
        corpus::replay("manifests", 1_500, manifests);
    }
}
