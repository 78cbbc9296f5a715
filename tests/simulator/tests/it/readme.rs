//! The README names everything there is.

use fdi_simulator::{AccessKey, Effect, Manner, Operation, Policies, Preset, Trigger, User};
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const CONTROL: [&str; 5] = [
    include_str!("../../src/control.rs"),
    include_str!("../../src/control/instances.rs"),
    include_str!("../../src/control/policies.rs"),
    include_str!("../../src/control/sign_in.rs"),
    include_str!("../../src/control/tasks.rs"),
];

#[test]
fn the_readmes_preset_is_a_preset() {
    let (_, rest) = README.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    let preset: Preset = serde_json::from_str(json).unwrap();
    assert_eq!((preset.instances.len(), preset.policies.settle_ms), (1, 500));
}

#[test]
fn the_readme_has_every_policy_with_its_default() {
    let Value::Object(policies) = serde_json::to_value(Policies::default()).unwrap() else { panic!("no object") };
    for (name, default) in policies {
        let row = README.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("the README has no row for the policy {name}"));
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        assert!(row.contains(&default), "{name}: {default} is not in {row}");
    }
}

/// The names that serde lists when it is given an unknown one.
fn known(error: &serde_json::Error) -> Vec<String> {
    let error = error.to_string();
    let (_, names) = error.split_once("expected one of ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_readme_names_every_operation_and_every_kind_of_fault_and_manner() {
    let kinds = [
        known(&serde_json::from_str::<Effect>(r#"{"kind": "?"}"#).unwrap_err()),
        known(&serde_json::from_str::<Manner>(r#"{"kind": "?"}"#).unwrap_err()),
        known(&serde_json::from_str::<Operation>(r#""?""#).unwrap_err()),
    ];
    for kind in kinds.concat() {
        let named = README.contains(&format!("`{kind}`")) || README.contains(&format!("`{kind} {{"));
        assert!(named, "the README does not name {kind}");
    }
}

#[test]
fn the_readme_names_every_field_of_triggers_keys_and_users() {
    let user = User::new("D", "U", "P");
    for value in [
        serde_json::to_value(Trigger::default()).unwrap(),
        serde_json::to_value(AccessKey::default()).unwrap(),
        serde_json::to_value(user).unwrap(),
    ] {
        for field in value.as_object().unwrap().keys() {
            let named = README.contains(&format!("`{field}`")) || README.contains(&format!("\"{field}\""));
            assert!(named, "the README does not name {field}");
        }
    }
}

#[test]
fn the_readme_has_a_row_for_every_path_of_the_control_api() {
    let paths = CONTROL.iter().flat_map(|source| source.split(".route(\"").skip(1));
    for path in paths.map(|rest| rest.split('"').next().unwrap()) {
        let path = path.replace("/instances/{project}/{instance}/", "…/");
        let row = README.lines().any(|line| line.starts_with('|') && line.contains(&format!("{path}`")));
        assert!(row, "the README has no row for {path}");
    }
}
