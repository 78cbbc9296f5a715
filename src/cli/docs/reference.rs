//! The page of every field, from the schema that the API server checks.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};

use super::cell;
use crate::crd;

const START: &str = "\
# CRD reference

Generated with `make docs` from the schema that the API server checks; a test compares them.
`kubectl explain fditaskgroup.spec --recursive` shows the same. What the fields do together is on
the pages of the kinds: [FdiInstance](fdiinstance.md), [FdiTaskGroup](fditaskgroup.md).
";

pub fn page() -> String {
    let mut page = START.to_owned();
    for crd in crd::all() {
        for version in &crd.spec.versions {
            kind(&mut page, &crd, version);
        }
    }
    page
}

fn kind(page: &mut String, crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) {
    let names = &crd.spec.names;
    let _ = write!(page, "\n## {}\n\n`apiVersion: {}/{}`", names.kind, crd.spec.group, version.name);
    for short in names.short_names.iter().flatten() {
        let _ = write!(page, ", short name `{short}`");
    }
    for category in names.categories.iter().flatten() {
        let _ = write!(page, ", category `{category}`");
    }
    let _ = writeln!(page, ", {}.", crd.spec.scope.to_lowercase());
    let columns = version.additional_printer_columns.iter().flatten();
    page.push_str("\n| Column of `kubectl get` | Shows |\n|---|---|\n");
    for column in columns {
        let wide = if column.priority.is_some_and(|priority| priority > 0) { " (with `-o wide`)" } else { "" };
        let _ = writeln!(page, "| {}{wide} | `{}` |", column.name.to_uppercase(), column.json_path.replace('|', "\\|"));
    }
    let fields: Vec<String> =
        version.selectable_fields.iter().flatten().map(|field| format!("`{}`", field.json_path)).collect();
    if !fields.is_empty() {
        let _ = writeln!(page, "\nFields for `--field-selector`: {}.", fields.join(", "));
    }
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    for part in ["spec", "status"] {
        let Some(schema) = schema.and_then(|schema| schema.properties.as_ref()?.get(part)) else { continue };
        let _ =
            write!(page, "\n### {}.{part}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n", names.kind);
        let mut rules = Vec::new();
        fields_of(page, part, schema, &mut rules);
        if !rules.is_empty() {
            page.push_str("\nRules between fields:\n\n");
            for rule in rules {
                let _ = writeln!(page, "* {rule}");
            }
        }
    }
}

/// A row for each field below `path`, and what the rules there say.
fn fields_of(page: &mut String, path: &str, schema: &JSONSchemaProps, rules: &mut Vec<String>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        rules.push(format!("`{path}`: {}", cell(rule.message.as_deref().unwrap_or(&rule.rule))));
    }
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let required = schema.required.iter().flatten().any(|required| required == name);
        let default = match (&field.default, required) {
            (Some(default), _) => format!("`{}`", default.0),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let (type_, inner) = type_of(field);
        let meaning = cell(field.description.as_deref().unwrap_or_default());
        let bounds = bounds(field).into_iter().chain(inner.map(bounds).unwrap_or_default());
        let bounds: Vec<String> = bounds.collect();
        let bounds = if bounds.is_empty() { String::new() } else { format!(" {}.", bounds.join(". ")) };
        let _ = writeln!(page, "| `{path}` | {type_} | {default} | {meaning}{bounds} |");
        match inner {
            Some(item) => fields_of(page, &format!("{path}[]"), item, rules),
            None => fields_of(page, &path, field, rules),
        }
    }
}

/// The type of a field, and the schema of its items if it is a list.
fn type_of(field: &JSONSchemaProps) -> (String, Option<&JSONSchemaProps>) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray;
    let own = field.type_.clone().unwrap_or_else(|| "any".to_owned());
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => {
            (format!("list of {}", item.type_.as_deref().unwrap_or("any")), Some(item))
        }
        _ => match field.format.as_deref() {
            Some("date-time") => ("time".to_owned(), None),
            _ => (own, None),
        },
    }
}

fn bounds(field: &JSONSchemaProps) -> Vec<String> {
    let mut bounds = Vec::new();
    let range = |least: Option<String>, most: Option<String>, unit: &str| match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("At least {least}{unit}")),
        (None, Some(most)) => Some(format!("At most {most}{unit}")),
        (None, None) => None,
    };
    let text = |number: &i64| number.to_string();
    bounds.extend(range(field.minimum.map(|n| n.to_string()), field.maximum.map(|n| n.to_string()), ""));
    bounds.extend(range(field.min_length.as_ref().map(text), field.max_length.as_ref().map(text), " characters"));
    bounds.extend(range(field.min_items.as_ref().map(text), field.max_items.as_ref().map(text), " items"));
    let values: Vec<String> =
        field.enum_.iter().flatten().filter_map(|value| value.0.as_str()).map(|value| format!("`{value}`")).collect();
    if !values.is_empty() {
        bounds.push(format!("One of {}", values.join(", ")));
    }
    if let Some(pattern) = &field.pattern {
        bounds.push(format!("Must match `{}`", pattern.replace('|', "\\|")));
    }
    bounds
}
