//! Whether the API server serves the definitions that this operator was built with. An old definition drops fields that it
//! does not know without a word, so a difference is said loudly; it does not keep the operator from working.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::Value;
use tracing::{error, info, warn};

use crate::crd;

/// How often an API server that is away, or has no definition yet, is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Most differences that one log line names.
const NAMED_MAX: usize = 10;

/// How a served definition stands to ours.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Served {
    Matches,
    /// Paths in the schema that are not as in ours.
    Differs(Vec<String>),
    /// Our version is not served at all.
    OtherVersion,
    NotFound,
}

/// Asks until both definitions were compared, or may not be read, and says what came out. Returns then.
pub async fn check(client: Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    for ours in crd::all() {
        let name = ours.metadata.name.clone().unwrap_or_default();
        let mut told = false;
        loop {
            match definitions.get_opt(&name).await {
                Ok(served) => match compare(&ours, served.as_ref()) {
                    Served::NotFound if told => {}
                    Served::NotFound => {
                        error!(
                            definition = name,
                            "the API server has no such definition, nothing can be done before it has: install it with \
                             'fdi-operator crds | kubectl apply --server-side -f -'; waiting"
                        );
                        told = true;
                    }
                    other => {
                        log(&name, &other);
                        break;
                    }
                },
                Err(kube::Error::Api(status)) if status.code == 403 || status.code == 401 => {
                    info!(
                        definition = name,
                        "the definition may not be read, so it is not compared with this operator's own"
                    );
                    break;
                }
                // The watches tell of an API server that is away.
                Err(_) => {}
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

fn log(name: &str, served: &Served) {
    match served {
        Served::Matches => info!(definition = name, "the definition is served as this operator was built with"),
        Served::Differs(paths) => {
            let named: Vec<&str> = paths.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = paths.len() - named.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            warn!(
                definition = name,
                "the API server serves another definition than this operator was built with; fields may be dropped or refused. \
                 Install the matching one with 'fdi-operator crds | kubectl apply --server-side -f -'. Different: {}{more}",
                named.join(", ")
            );
        }
        Served::OtherVersion => error!(
            definition = name,
            "the API server does not serve the version that this operator works with: install the matching definition with \
             'fdi-operator crds | kubectl apply --server-side -f -'"
        ),
        Served::NotFound => {}
    }
}

fn compare(ours: &CustomResourceDefinition, served: Option<&CustomResourceDefinition>) -> Served {
    let Some(served) = served else { return Served::NotFound };
    let mut paths = BTreeSet::new();
    for version in &ours.spec.versions {
        let Some(their) = served.spec.versions.iter().find(|their| their.name == version.name && their.served) else {
            return Served::OtherVersion;
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
    if paths.is_empty() { Served::Matches } else { Served::Differs(paths.into_iter().collect()) }
}

/// Adds the path of each place where the two schemas do not log the same. Descriptions are for people: another wording is no
/// difference.
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

    fn changed(change: impl Fn(&mut JSONSchemaProps)) -> Served {
        let ours = crd::all().remove(1);
        let mut served = ours.clone();
        let schema = served.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        change(schema.properties.as_mut().unwrap().get_mut("spec").unwrap());
        compare(&ours, Some(&served))
    }

    #[test]
    fn our_own_definitions_are_as_ours_and_another_wording_is_no_difference() {
        assert_eq!(changed(|_| {}), Served::Matches);
        assert_eq!(changed(|spec| spec.description = Some("Else.".into())), Served::Matches);
    }

    #[test]
    fn a_missing_field_and_another_bound_are_named() {
        let missing = changed(|spec| drop(spec.properties.as_mut().unwrap().remove("suspend")));
        assert_eq!(missing, Served::Differs(vec!["properties.spec.properties.suspend".into()]));
        let bound = changed(|spec| spec.properties.as_mut().unwrap().get_mut("taskIds").unwrap().max_items = Some(500));
        assert_eq!(bound, Served::Differs(vec!["properties.spec.properties.taskIds.maxItems".into()]));
    }

    #[test]
    fn absence_and_another_version_are_told_apart() {
        let ours = crd::all().remove(0);
        assert_eq!(compare(&ours, None), Served::NotFound);
        let mut served = ours.clone();
        served.spec.versions[0].name = "v1".into();
        assert_eq!(compare(&ours, Some(&served)), Served::OtherVersion);
    }
}
