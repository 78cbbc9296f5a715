//! `FdiInstance`: one ROMA Connect instance: where it is, how to sign in, how many requests to
//! send.

use std::fmt;

use kube::CustomResource;
use kube::core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::Condition;
use super::lenient::{describe, lenient};
use super::names::{DNS_NAME, is_dns_name};
use crate::fdi::{Connection, Location};

/// One ROMA Connect instance.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fdi.romaconnect.dev",
    version = "v1alpha1",
    kind = "FdiInstance",
    doc = "One ROMA Connect instance: where it is, how to sign in, how many requests to send.",
    namespaced,
    status = "FdiInstanceStatus",
    shortname = "fdi",
    // Not "fdi": kubectl would expand that to both kinds, and `kubectl get fdi NAME` would fail.
    category = "romaconnect",
    derive = "PartialEq",
    validation = kube::core::Rule::new("self.metadata.name.size() <= 63").message("metadata.name must have at most 63 characters"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Groups", type_ = "integer", json_path = ".status.groups"),
    printcolumn(name = "Tasks", type_ = "integer", json_path = ".status.tasks.total"),
    printcolumn(name = "Managed", type_ = "integer", json_path = ".status.tasks.managed"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", description = "No call is sent for any group of the instance"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    selectable = ".spec.suspend"
)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.region) != has(self.endpoint)", "message": "must set exactly one of spec.region and spec.endpoint"},
    {"rule": "has(self.region) == has(oldSelf.region) && (!has(self.region) || self.region == oldSelf.region)", "message": "spec.region must not change: create another FdiInstance"},
    {"rule": "has(self.endpoint) == has(oldSelf.endpoint) && (!has(self.endpoint) || self.endpoint == oldSelf.endpoint)", "message": "spec.endpoint must not change: create another FdiInstance"},
    {"rule": "has(self.iamEndpoint) == has(oldSelf.iamEndpoint) && (!has(self.iamEndpoint) || self.iamEndpoint == oldSelf.iamEndpoint)", "message": "spec.iamEndpoint must not change: create another FdiInstance"}
]))]
pub struct FdiInstanceSpec {
    /// Region of the instance, such as `cn-north-4`; the endpoint is then
    /// `https://roma.<region>.myhuaweicloud.com`. Set exactly one of `region` and `endpoint`.
    /// Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub region: Option<String>,
    /// Full endpoint, such as `https://roma.example.com`, for dedicated and private clouds. The
    /// operator's flag `--allowed-endpoints` must allow it. Set exactly one of `region` and
    /// `endpoint`. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub endpoint: Option<String>,
    /// ID of the project of the instance: "My Credentials" in the console lists one for each
    /// region. Immutable.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"), extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "projectId must not change: create another FdiInstance"}]))]
    pub project_id: String,
    /// ID of the ROMA Connect instance: the console shows it in the instance information.
    /// Immutable.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"), extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "instanceId must not change: create another FdiInstance"}]))]
    pub instance_id: String,
    /// How to sign in. Set exactly one of `accessKey`, `password` and `token`.
    pub auth: Auth,
    /// Endpoint of IAM, for `auth.password`. Default: that of the region. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub iam_endpoint: Option<String>,
    /// Certificates (PEM) that are trusted in addition to the system's, for private clouds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: Option<String>,
    /// How often the tasks are listed while nothing changes, in seconds, 10 to 3600, ±10 %. Drift
    /// and failing runs are observed with the next list. Default: 60.
    #[serde(default = "default_poll_interval")]
    #[schemars(range(min = 10, max = 3600))]
    pub poll_interval_seconds: i32,
    /// Limits of the requests to this instance. Default: 5 requests per second, 2 calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// `true`: observe and report for all groups of this instance, but start and stop no task.
    /// Default: `false`.
    #[serde(default)]
    pub suspend: bool,
    /// Why the stored spec could not be decoded, if so.
    #[serde(skip)]
    pub decode_error: Option<String>,
}

lenient!(FdiInstanceSpec, Self::decode);

impl FdiInstanceSpec {
    fn decode(stored: &Value) -> Self {
        let decoded = Self::deserialize(stored).map_err(|error| describe(&error)).and_then(Self::validate);
        decoded.unwrap_or_else(|error| Self { decode_error: Some(error), ..Self::default() })
    }

    /// Objects may be older than the validation by the API server, and the name of the Secret
    /// becomes part of a path.
    fn validate(self) -> Result<Self, String> {
        let Auth { access_key, password, token } = &self.auth;
        for (method, auth) in [("accessKey", access_key), ("password", password), ("token", token)] {
            if auth.as_ref().is_some_and(|auth| !is_dns_name(&auth.secret_ref.name)) {
                return Err(format!("spec.auth.{method}.secretRef.name must be the name of a Secret"));
            }
        }
        Ok(self)
    }

    /// The limits in force, with defaults where none are given.
    pub fn limits(&self) -> RateLimit {
        self.rate_limit.unwrap_or_default()
    }

    /// Where the instance is, in the FDI client's types.
    pub fn connection(&self) -> Connection {
        let location = match (&self.region, &self.endpoint) {
            (Some(region), _) => Location::Region(region.clone()),
            (None, endpoint) => Location::Endpoint(endpoint.clone().unwrap_or_default()),
        };
        Connection {
            location,
            project_id: self.project_id.clone(),
            instance_id: self.instance_id.clone(),
            iam_endpoint: self.iam_endpoint.clone(),
            ca_bundle: self.ca_bundle.clone(),
        }
    }
}

/// Namespace and name of an `FdiInstance`, whether it exists or not: the unit of work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    pub namespace: String,
    pub name: String,
}

impl InstanceKey {
    /// Of an object's metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

fn default_poll_interval() -> i32 {
    60
}

/// How to sign in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "[has(self.accessKey), has(self.password), has(self.token)].filter(x, x).size() == 1", "message": "must set exactly one of spec.auth.accessKey, spec.auth.password and spec.auth.token"}
]))]
pub struct Auth {
    /// Access key (AK/SK): the Secret has `accessKey` and `secretKey`, and `securityToken` for a
    /// temporary key. Recommended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<SecretAuth>,
    /// IAM user with a password: the Secret has `domainName` (the account), `userName` and
    /// `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretAuth>,
    /// IAM token: the Secret has `token`. A token expires after 24 hours, so something must renew
    /// the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretAuth>,
}

/// Refers to the credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretAuth {
    /// The Secret with the credentials, in the same namespace.
    pub secret_ref: SecretRef,
}

/// Refers to a Secret in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = DNS_NAME))]
    pub name: String,
}

/// Limits of the requests to one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// Requests per second, lists and calls together, 1 to 100. Default: 5.
    #[schemars(range(min = 1, max = 100))]
    pub requests_per_second: i32,
    /// Batch calls of up to ten tasks in flight at the same time, 1 to 10. Default: 2.
    #[schemars(range(min = 1, max = 10))]
    pub max_concurrent_calls: i32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests_per_second: 5, max_concurrent_calls: 2 }
    }
}

/// What the operator observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self", default)]
pub struct FdiInstanceStatus {
    /// The `metadata.generation` that this status was computed from; -1 before the first reconcile.
    pub observed_generation: i64,
    /// `Ready` (signed in, and tasks listed) and `Synced` always; `Reconciling` and `Stalled` only
    /// while `True`.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Numbers of tasks of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<InstanceTasks>,
    /// Number of groups that refer to this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub groups: Option<i32>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that the operator acted
    /// on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<Box<str>>,
}

lenient!(FdiInstanceStatus, |stored| Self::deserialize(stored).unwrap_or_default());

impl Default for FdiInstanceStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            tasks: None,
            groups: None,
            last_handled_reconcile_at: None,
        }
    }
}

/// Numbers of tasks of the instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceTasks {
    /// All tasks that the service lists.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub total: i32,
    /// Tasks that are running.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub running: i32,
    /// Tasks that a group owns.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub managed: i32,
    /// Tasks that no group owns: nobody says which state they are to have.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub unmanaged: i32,
}
