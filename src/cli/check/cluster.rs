//! The cluster: whether it answers, its CRDs, and what the user may do.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, PostParams};

use super::finding::Finding;
use crate::cli::cluster::Cluster;
use crate::cli::program::typed;
use crate::crd::{self, FdiTaskGroup};
use crate::fdi::text::listed;
use crate::k8s::crd_check::{Comparison, compare};
use crate::k8s::error::describe;

/// Most differences that a message names.
const NAMED_MAX: usize = 5;

/// What to do about a CRD.
fn install() -> String {
    format!("install the matching one with '{} crds | kubectl apply --server-side -f -'", typed())
}

pub async fn check(cluster: &Cluster) -> Vec<Finding> {
    let version = match cluster.client.apiserver_version().await {
        Ok(version) => version.git_version,
        Err(error) => {
            let message =
                format!("{}: check the address in the kubeconfig, the network, and your sign-in", describe(&error));
            return vec![Finding::failed("API server", message)];
        }
    };
    let mut findings = vec![Finding::ok(format!("API server {version}"))];
    for ours in crd::all() {
        findings.push(custom_resource(cluster, &ours).await);
    }
    findings.extend(permissions(cluster).await);
    findings
}

async fn custom_resource(cluster: &Cluster, ours: &CustomResourceDefinition) -> Finding {
    let name = ours.metadata.name.clone().unwrap_or_default();
    let check = format!("CRD {name}");
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    match crds.get_opt(&name).await {
        Ok(None) => Finding::failed(check, format!("it is not installed: {}", install())),
        Ok(Some(served)) => match compare(ours, &served) {
            Comparison::Matches | Comparison::NotFound => Finding::ok(check),
            Comparison::Differs(paths) => Finding::limited(
                check,
                format!("it differs from the one of this version, in {}: {}", listed(&paths, NAMED_MAX), install()),
            ),
            Comparison::VersionNotServed => {
                Finding::failed(check, format!("it does not serve the version of this program: {}", install()))
            }
        },
        Err(kube::Error::Api(status)) if status.code == 403 => served(cluster, check).await,
        Err(error) => Finding::failed(check, describe(&error)),
    }
}

/// Users often may not read CRDs, but see whether the API server knows the kinds.
async fn served(cluster: &Cluster, check: String) -> Finding {
    let groups: Api<FdiTaskGroup> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    match groups.list(&ListParams::default().limit(1)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Finding::failed(check, format!("the API server does not know the kind: {}", install()))
        }
        _ => Finding::limited(check, "you may not read CRDs, so it is not compared with the one of this version"),
    }
}

/// What commands need: the verb, the resource, what it is for, and whether nothing works without.
const PERMISSIONS: [(&str, &str, &str, &str, bool); 6] = [
    ("list", "fdi.romaconnect.dev", "fdiinstances", "every command", true),
    ("list", "fdi.romaconnect.dev", "fditaskgroups", "every command", true),
    ("get", "fdi.romaconnect.dev", "fditaskgroups", "every command", true),
    ("patch", "fdi.romaconnect.dev", "fditaskgroups", "suspend, resume, start, stop and reconcile", false),
    ("patch", "fdi.romaconnect.dev", "fdiinstances", "suspend, resume and reconcile with --instance", false),
    ("get", "", "secrets", "tasks, import and plan, unless --credentials environment", false),
];

async fn permissions(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (verb, group, resource, purpose, needed) in PERMISSIONS {
        let check = format!("permission to {verb} {resource} in namespace \"{}\"", cluster.namespace);
        let role = if group.is_empty() {
            "a Role with it"
        } else if verb == "patch" {
            "the ClusterRole edit"
        } else {
            "the ClusterRole view"
        };
        let message = format!("needed for {purpose}: ask for {role} in this namespace");
        findings.push(match allowed(cluster, verb, group, resource).await {
            Ok(true) => Finding::ok(check),
            Ok(false) if needed => Finding::failed(check, message),
            Ok(false) => Finding::limited(check, message),
            Err(error) => Finding::limited(check, format!("not known: {}", describe(&error))),
        });
    }
    findings
}

async fn allowed(cluster: &Cluster, verb: &str, group: &str, resource: &str) -> kube::Result<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let attributes = ResourceAttributes {
        namespace: Some(cluster.namespace.clone()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answered = reviews.create(&PostParams::default(), &review).await?;
    Ok(answered.status.is_some_and(|status| status.allowed))
}
