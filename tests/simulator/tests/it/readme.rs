//! The README names what there is.

use fdi_simulator::{Policies, Preset};
use serde_json::Value;

const README: &str = include_str!("../../README.md");

#[test]
fn the_readmes_preset_is_a_preset() {
    let (_, rest) = README.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    let preset: Preset = serde_json::from_str(json).unwrap();
    assert_eq!((preset.instances.len(), preset.policies.settle_ms), (1, 500));
}

#[test]
fn the_readme_has_every_policy_with_its_default_and_every_source_of_trouble() {
    let Value::Object(policies) = serde_json::to_value(Policies::default()).unwrap() else { panic!("no object") };
    for (name, default) in policies {
        let row = README.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("the README has no row for the policy {name}"));
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        assert!(row.contains(&default), "{name}: {default} is not in {row}");
    }
    // What serde knows of the kinds it tells when it is given an unknown one.
    for error in [
        serde_json::from_str::<fdi_simulator::Effect>(r#"{"kind": "?"}"#).unwrap_err().to_string(),
        serde_json::from_str::<fdi_simulator::Manner>(r#"{"kind": "?"}"#).unwrap_err().to_string(),
    ] {
        let (_, kinds) = error.split_once("expected one of ").unwrap();
        for kind in kinds.split('`').skip(1).step_by(2) {
            let named = README.contains(&format!("`{kind}`")) || README.contains(&format!("`{kind} {{"));
            assert!(named, "the README does not name {kind}");
        }
    }
}
