//! At start: are the definitions that the API server serves the ones this version was built with? An old definition drops fields in
//! silence, which looks like an operator that ignores what people write.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tracing::{debug, error, info, warn};

use crate::crd;

/// Pause between two looks for a definition that is not there, or at an API server that does not answer.
const AGAIN: Duration = Duration::from_secs(10);
/// Most differences that are named; more are counted.
const NAMED_MAX: usize = 10;

/// What was found of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As this version has it.
    Same,
    /// Not installed.
    Absent,
    /// Where it differs, as paths into the definition, with what is served and what was expected. Never empty.
    Differs(Vec<String>),
    /// This operator may not read definitions, which it need not.
    NotPermitted,
    /// The API server did not answer, or not with a definition.
    Unknown(String),
}

/// Looks at every definition until it is there, and says what was found. Returns when there is nothing more to say.
pub async fn check(client: Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let mut waiting = BTreeSet::new();
    for ours in crd::all() {
        loop {
            let found = look(&api, &ours).await;
            let again = matches!(found, Finding::Absent | Finding::Unknown(_));
            // An absence is one log line, however long it lasts.
            if !again || waiting.insert(ours.name_any()) {
                say(&ours.name_any(), &found);
            }
            if !again {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Compares the served definition with `ours`.
pub async fn look(api: &Api<CustomResourceDefinition>, ours: &CustomResourceDefinition) -> Finding {
    match api.get_opt(&ours.name_any()).await {
        Ok(Some(served)) => {
            let found = differences(&served, ours);
            if found.is_empty() { Finding::Same } else { Finding::Differs(found) }
        }
        Ok(None) => Finding::Absent,
        Err(kube::Error::Api(status)) if status.code == 403 => Finding::NotPermitted,
        Err(error) => Finding::Unknown(error.to_string()),
    }
}

fn say(definition: &str, found: &Finding) {
    match found {
        Finding::Same => debug!(definition, "the served definition is this version's"),
        Finding::Absent => error!(
            definition,
            "the definition is not installed: nothing can be done before it is. Waiting; install it with \
             fdi-operator crds | kubectl apply --server-side -f -"
        ),
        Finding::Differs(differences) => {
            let named = differences.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
            let more = differences.len().saturating_sub(NAMED_MAX);
            error!(
                definition,
                differences = named,
                more,
                "the served definition is not this version's: fields may be dropped or refused. Install this version's \
                 with fdi-operator crds | kubectl apply --server-side -f -"
            );
        }
        Finding::NotPermitted => {
            info!(definition, "may not read the definition, so it is not compared with this version's");
        }
        Finding::Unknown(problem) => warn!(definition, problem, "cannot read the definition; trying again"),
    }
}

/// The differences that matter: versions, subresources and schemas. Texts for people do not, and what the API server adds by
/// itself (names, defaults of the definition) neither.
fn differences(served: &CustomResourceDefinition, ours: &CustomResourceDefinition) -> Vec<String> {
    let mut found = Vec::new();
    if served.spec.scope != ours.spec.scope {
        found.push(format!("scope is {}, not {}", served.spec.scope, ours.spec.scope));
    }
    for wanted in &ours.spec.versions {
        let name = &wanted.name;
        let Some(version) = served.spec.versions.iter().find(|version| version.name == *name && version.served) else {
            found.push(format!("version {name} is not served"));
            continue;
        };
        let value = |part| serde_json::to_value(part).unwrap_or_default();
        let schema = |version: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion| {
            let mut schema = version.schema.as_ref().map(serde_json::to_value).and_then(Result::ok).unwrap_or_default();
            schema.as_object_mut().and_then(|schema| schema.remove("openAPIV3Schema")).unwrap_or_default()
        };
        compare(
            &format!("{name} subresources"),
            &value(&version.subresources),
            &value(&wanted.subresources),
            &mut found,
        );
        compare(name, &schema(version), &schema(wanted), &mut found);
    }
    found
}

fn compare(path: &str, served: &Value, ours: &Value, found: &mut Vec<String>) {
    match (served, ours) {
        (Value::Object(served), Value::Object(ours)) => {
            let keys: BTreeSet<&String> = served.keys().chain(ours.keys()).collect();
            // `properties` has names of fields for keys, and one of them may be `description`.
            let names = path.ends_with("properties");
            for key in keys.into_iter().filter(|key| names || *key != "description") {
                let path = format!("{path}.{key}");
                match (served.get(key), ours.get(key)) {
                    (Some(served), Some(ours)) => compare(&path, served, ours, found),
                    (Some(_), None) => found.push(format!("{path} is served but unknown here")),
                    (None, _) => found.push(format!("{path} is missing")),
                }
            }
        }
        (served, ours) if served == ours => {}
        (served, ours) => found.push(format!("{path} is {}, not {}", short(served), short(ours))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 80 { text.chars().take(77).collect::<String>() + "..." } else { text }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let ours = crd::all().remove(1);
        let mut served = serde_json::to_value(&ours).unwrap();
        change(&mut served);
        differences(&serde_json::from_value(served).unwrap(), &ours)
    }

    #[test]
    fn a_missing_field_another_rule_and_an_unserved_version_are_named_by_their_path() {
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let missing = changed(|served| {
            served.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("suspend");
        });
        assert_eq!(missing, ["v1alpha1.properties.spec.properties.suspend is missing"]);
        let other = changed(|served| served.pointer_mut(spec).unwrap()["taskIds"]["maxItems"] = 7.into());
        assert_eq!(other.len(), 1);
        assert!(other[0].starts_with("v1alpha1.properties.spec.properties.taskIds.maxItems is 7"), "{other:?}");
        let unserved = changed(|served| served["spec"]["versions"][0]["served"] = false.into());
        assert_eq!(unserved, ["version v1alpha1 is not served"]);
    }

    #[test]
    fn texts_for_people_do_not_count() {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/description";
        assert!(changed(|served| *served.pointer_mut(path).unwrap() = "old".into()).is_empty());
    }
}
