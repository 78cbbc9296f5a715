//! What the API server would say to an object, by the schema of its CRD.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use regex::Regex;
use serde_json::Value;

use super::names::is_dns_name;

/// The rule on `metadata.name` of both kinds.
const NAME_MAX: usize = 63;

/// Everything that the API server would refuse in a manifest of one of the two kinds: `spec`,
/// `metadata.name` and `apiVersion`. Rules in CEL are not evaluated: those of groups are about
/// edits.
pub fn validate(crd: &CustomResourceDefinition, object: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let version = &crd.spec.versions[0];
    let api_version = format!("{}/{}", crd.spec.group, version.name);
    if object["apiVersion"] != api_version.as_str() {
        errors.push(format!("apiVersion: must be {api_version}"));
    }
    match object["metadata"]["name"].as_str() {
        None => errors.push("metadata.name: required".to_owned()),
        Some(name) if !is_dns_name(name) => {
            errors.push("metadata.name: must consist of lower-case letters, digits, '-' and '.'".to_owned());
        }
        Some(name) if name.len() > NAME_MAX => {
            errors.push(format!("metadata.name: must have at most {NAME_MAX} characters"));
        }
        Some(_) => {}
    }
    let root = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    match root.and_then(|root| root.properties.as_ref()?.get("spec")) {
        Some(_) if object["spec"].is_null() => errors.push("spec: required".to_owned()),
        Some(spec) => check(spec, &object["spec"], "spec", &mut errors),
        None => {}
    }
    errors
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &str, errors: &mut Vec<String>) {
    let type_ = schema.type_.as_deref().unwrap_or_default();
    match value {
        Value::Object(fields) if type_ == "object" => {
            let known = schema.properties.as_ref();
            for name in schema.required.iter().flatten() {
                if fields.get(name).is_none_or(Value::is_null) {
                    errors.push(format!("{path}.{name}: required"));
                }
            }
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                match known.and_then(|known| known.get(name)) {
                    Some(schema) => check(schema, value, &format!("{path}.{name}"), errors),
                    None => errors.push(format!("{path}.{name}: unknown field")),
                }
            }
        }
        Value::Array(items) if type_ == "array" => {
            check_size(items.len(), (schema.min_items, schema.max_items), "items", path, errors);
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    check(schema, item, &format!("{path}[{index}]"), errors);
                }
            }
        }
        Value::String(text) if type_ == "string" => check_text(schema, text, path, errors),
        Value::Bool(_) if type_ == "boolean" => {}
        Value::Number(number) if type_ == "integer" && !number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            if schema.minimum.is_some_and(|least| number < least) || schema.maximum.is_some_and(|most| number > most) {
                let (least, most) = (schema.minimum.unwrap_or_default(), schema.maximum.unwrap_or_default());
                errors.push(format!("{path}: must be from {least} to {most}"));
            }
        }
        _ => errors.push(format!("{path}: must be of type {type_}")),
    }
}

fn check_text(schema: &JSONSchemaProps, text: &str, path: &str, errors: &mut Vec<String>) {
    check_size(text.chars().count(), (schema.min_length, schema.max_length), "characters", path, errors);
    let allowed: Vec<&str> = schema.enum_.iter().flatten().filter_map(|value| value.0.as_str()).collect();
    if !allowed.is_empty() && !allowed.contains(&text) {
        errors.push(format!("{path}: must be {}", allowed.join(" or ")));
    }
    if let Some(pattern) = &schema.pattern
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        errors.push(format!("{path}: must match {pattern}"));
    }
}

fn check_size(size: usize, limits: (Option<i64>, Option<i64>), what: &str, path: &str, errors: &mut Vec<String>) {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    match limits {
        (Some(least), _) if size < least => errors.push(format!("{path}: must have at least {least} {what}")),
        (_, Some(most)) if size > most => errors.push(format!("{path}: must have at most {most} {what}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::crd::all;

    fn errors(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut group = json!({
            "apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup", "metadata": {"name": "a"},
            "spec": {"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ["t1"], "suspend": null},
        });
        change(&mut group);
        validate(&all()[1], &group)
    }

    type Case = (fn(&mut Value), &'static str);

    #[test]
    fn what_the_api_server_would_refuse_is_named_by_its_field() {
        assert!(errors(|_| {}).is_empty());
        let cases: [Case; 12] = [
            (
                |group| group["apiVersion"] = json!("fdi.romaconnect.dev/v9"),
                "apiVersion: must be fdi.romaconnect.dev/v1alpha1",
            ),
            (|group| group["metadata"]["name"] = json!("A_bad_Name"), "metadata.name: must consist of lower-case"),
            (|group| group["metadata"]["name"] = json!("a".repeat(64)), "metadata.name: must have at most 63"),
            (|group| group["metadata"] = json!({}), "metadata.name: required"),
            (|group| group["spec"] = json!(null), "spec: required"),
            (|group| group["spec"]["taskIds"] = json!([]), "spec.taskIds: must have at least 1 items"),
            (
                |group| group["spec"]["taskIds"] = json!(["t1", "has space"]),
                "spec.taskIds[1]: must match ^[A-Za-z0-9_-]{1,64}$",
            ),
            (|group| group["spec"]["taskIds"] = json!([7]), "spec.taskIds[0]: must be of type string"),
            (|group| group["spec"]["desiredState"] = json!("Paused"), "spec.desiredState: must be Running or Stopped"),
            (|group| group["spec"]["desiredState"] = json!(null), "spec.desiredState: required"),
            (|group| group["spec"]["surprise"] = json!(1), "spec.surprise: unknown field"),
            (|group| group["spec"]["instanceRef"]["name"] = json!("?watch=1"), "spec.instanceRef.name: must match"),
        ];
        for (change, expected) in cases {
            let errors = errors(change);
            assert!(errors.len() == 1 && errors[0].starts_with(expected), "{expected}: {errors:?}");
        }
    }

    #[test]
    fn numbers_have_their_limits() {
        let instance = |seconds: Value| {
            let auth = json!({"token": {"secretRef": {"name": "s"}}});
            let spec = json!({"region": "cn-north-4", "projectId": "p", "instanceId": "i", "auth": auth,
                "pollIntervalSeconds": seconds});
            validate(
                &all()[0],
                &json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "metadata": {"name": "a"}, "spec": spec}),
            )
        };
        assert!(instance(json!(10)).is_empty() && instance(json!(3600)).is_empty());
        assert_eq!(instance(json!(9)), ["spec.pollIntervalSeconds: must be from 10 to 3600"]);
        assert_eq!(instance(json!(1.5)), ["spec.pollIntervalSeconds: must be of type integer"]);
    }

    #[test]
    fn every_keyword_of_our_schemas_is_checked_or_says_nothing_about_a_manifest() {
        fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
            for (keyword, value) in schema.as_object().unwrap() {
                found.insert(keyword.clone());
                match keyword.as_str() {
                    "properties" => value.as_object().unwrap().values().for_each(|schema| keywords(schema, found)),
                    "items" => keywords(value, found),
                    _ => {}
                }
            }
        }
        let mut found = BTreeSet::new();
        for crd in all() {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            keywords(&schema["openAPIV3Schema"]["properties"]["spec"], &mut found);
        }
        let checked = [
            "enum",
            "items",
            "maxItems",
            "maxLength",
            "maximum",
            "minItems",
            "minLength",
            "minimum",
            "pattern",
            "properties",
            "required",
            "type",
        ];
        let silent = ["default", "description", "x-kubernetes-list-type", "x-kubernetes-validations", "format"];
        for keyword in found {
            assert!(checked.contains(&keyword.as_str()) || silent.contains(&keyword.as_str()), "{keyword}");
        }
    }
}
