//! Compares the CRDs that the API server serves with those that this operator was built with.
//!
//! An API server with an older CRD silently drops the fields that it does not know, so a difference
//! is logged. It does not stop the operator.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::Value;
use tracing::{error, info, warn};

use crate::crd;
use crate::fdi::text::listed;

/// Pause between requests to an API server that is unavailable or has no such CRD yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Most differences that one log line names.
const NAMED_MAX: usize = 10;

/// How the served CRD compares with ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    Matches,
    /// Paths in the schema that are not as in ours.
    Differs(BTreeSet<String>),
    VersionNotServed,
    NotFound,
}

/// Returns once both CRDs are compared, or must not be read, and the result is logged.
pub async fn check(client: Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client);
    for ours in crd::all() {
        let name = ours.metadata.name.clone().unwrap_or_default();
        let mut logged = false;
        loop {
            match crds.get_opt(&name).await {
                Ok(None) => {
                    if !logged {
                        log(&name, &Comparison::NotFound);
                    }
                    logged = true;
                }
                Ok(Some(served)) => {
                    log(&name, &compare(&ours, &served));
                    break;
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                    info!(crd = name, "no permission to read the CRD, so it is not compared with this operator's");
                    break;
                }
                // The watches log that the API server is unavailable.
                Err(_) => {}
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

fn log(crd: &str, result: &Comparison) {
    match result {
        Comparison::Matches => info!(crd, "the CRD matches this operator"),
        Comparison::Differs(paths) => warn!(
            crd,
            "the installed CRD differs from this operator's, so the API server may drop or refuse fields; install \
             the matching one with 'fdi-operator crds | kubectl apply --server-side -f -'. Differences: {}",
            listed(paths, NAMED_MAX)
        ),
        Comparison::VersionNotServed => error!(
            crd,
            "the API server does not serve the version of the CRD that this operator needs; install the matching \
             one with 'fdi-operator crds | kubectl apply --server-side -f -'"
        ),
        Comparison::NotFound => error!(
            crd,
            "the CRD is not installed; install it with 'fdi-operator crds | kubectl apply --server-side -f -'. \
             Retrying"
        ),
    }
}

/// Compares the schemas and the versions.
pub fn compare(ours: &CustomResourceDefinition, served: &CustomResourceDefinition) -> Comparison {
    let mut paths = BTreeSet::new();
    for version in &ours.spec.versions {
        let Some(their) = served.spec.versions.iter().find(|their| their.name == version.name && their.served) else {
            return Comparison::VersionNotServed;
        };
        if version.subresources != their.subresources {
            paths.insert("subresources".to_owned());
        }
        let [ours, theirs] = [&version.schema, &their.schema]
            .map(|schema| serde_json::to_value(schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref())));
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            differences(&ours, &theirs, &mut Vec::new(), &mut paths);
        }
    }
    if paths.is_empty() { Comparison::Matches } else { Comparison::Differs(paths) }
}

/// Adds the path of each place where the two schemas differ. Descriptions are prose: another
/// wording is no difference.
fn differences<'a>(ours: &'a Value, theirs: &'a Value, path: &mut Vec<&'a str>, found: &mut BTreeSet<String>) {
    let (Value::Object(ours_map), Value::Object(theirs_map)) = (ours, theirs) else {
        if ours != theirs {
            found.insert(path.join("."));
        }
        return;
    };
    let in_properties = path.last() == Some(&"properties");
    for key in ours_map.keys().chain(theirs_map.keys()) {
        if key == "description" && !in_properties {
            continue;
        }
        path.push(key);
        match (ours_map.get(key), theirs_map.get(key)) {
            (Some(ours), Some(theirs)) => differences(ours, theirs, path, found),
            _ => {
                found.insert(path.join("."));
            }
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

    use super::*;

    fn changed(change: impl Fn(&mut JSONSchemaProps)) -> Comparison {
        let ours = crd::all().remove(1);
        let mut served = ours.clone();
        let schema = served.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        change(schema.properties.as_mut().unwrap().get_mut("spec").unwrap());
        compare(&ours, &served)
    }

    #[test]
    fn our_own_crd_matches_and_another_wording_is_no_difference() {
        assert_eq!(changed(|_| {}), Comparison::Matches);
        assert_eq!(changed(|spec| spec.description = Some("Else.".into())), Comparison::Matches);
    }

    #[test]
    fn a_missing_field_and_another_bound_are_named() {
        let missing = changed(|spec| drop(spec.properties.as_mut().unwrap().remove("suspend")));
        assert_eq!(missing, Comparison::Differs(["properties.spec.properties.suspend".into()].into()));
        let bound = changed(|spec| spec.properties.as_mut().unwrap().get_mut("taskIds").unwrap().max_items = Some(500));
        assert_eq!(bound, Comparison::Differs(["properties.spec.properties.taskIds.maxItems".into()].into()));
    }

    #[test]
    fn a_crd_without_our_version_is_reported_as_such() {
        let ours = crd::all().remove(0);
        let mut served = ours.clone();
        served.spec.versions[0].name = "v1".into();
        assert_eq!(compare(&ours, &served), Comparison::VersionNotServed);
    }
}
