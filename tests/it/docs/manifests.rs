//! Every manifest of the pages and every sample: ours and those of Kubernetes are sent to a real
//! API server as a dry run; the others, and fragments, must be YAML.

use serde_json::Value;

use super::{blocks, pages};
use crate::architecture::files;
use crate::harness::{TestEnv, kubectl};

/// API groups that the API server of the tests serves.
fn served(api_version: &str) -> bool {
    ["v1", "apps/v1", "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1"].contains(&api_version)
        || api_version.starts_with("fdi.romaconnect.dev/")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_of_the_pages_is_one_that_the_api_server_accepts() {
    let (env, _) = TestEnv::bare(0).await;
    let mut refused = Vec::new();
    let mut applied = 0;
    let mut manifests: Vec<(String, String)> = files("deploy/samples", "yaml");
    for (name, text) in pages() {
        let found = blocks(&text).into_iter().filter(|block| block.language == "yaml");
        manifests.extend(found.map(|block| (format!("{name}:{}", block.first), block.lines.join("\n"))));
    }
    for (at, text) in manifests {
        for document in text.split("\n---\n") {
            let value: Value = match serde_saphyr::from_str(document) {
                Ok(value) => value,
                Err(error) => {
                    refused.push(format!("{at}: {error}"));
                    continue;
                }
            };
            if !value["apiVersion"].as_str().is_some_and(served) {
                continue;
            }
            applied += 1;
            let arguments =
                ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", &env.namespace, "-f", "-"];
            // An object that names its own namespace is sent there.
            let mut value = value;
            if let Some(metadata) = value["metadata"].as_object_mut() {
                metadata.remove("namespace");
            }
            let answer = kubectl(&arguments, &value.to_string()).await;
            if !answer.status.success() {
                refused.push(format!("{at}: {}", answer.stderr.trim()));
            }
        }
    }
    assert!(applied > 5, "only {applied} manifests were found");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
