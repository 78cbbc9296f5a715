//! The tasks of an instance as FDI lists them now, for commands. The client and the sign-in are
//! those of the operator; nothing here can send anything but the sign-in and lists.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Resource as _, ResourceExt as _};

use super::cluster::Cluster;
use super::error::CommandError;
use crate::config::flags::list_items;
use crate::crd::FdiInstance;
use crate::fdi::{
    Attributes, CallError, Fdi, FdiApi, FdiConfig, InvalidPattern, Operation, RequestLimiter, RequestObserver, SignIn,
    Task,
};
use crate::k8s::error::describe;
use crate::reconcile::observe::secret;

/// The environment of the official SDK.
const ACCESS_KEY: &str = "HUAWEICLOUD_SDK_AK";
const SECRET_KEY: &str = "HUAWEICLOUD_SDK_SK";
const SECURITY_TOKEN: &str = "HUAWEICLOUD_SDK_SECURITY_TOKEN";
const PROJECT_ID: &str = "HUAWEICLOUD_SDK_PROJECT_ID";

/// Where the credentials come from. The comments are help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Credentials {
    /// The Secret that the FdiInstance refers to, read with your kubeconfig.
    #[default]
    Secret,
    /// HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, for a temporary key,
    /// HUAWEICLOUD_SDK_SECURITY_TOKEN.
    Environment,
}

/// How commands sign in to FDI. The comments are help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "FDI")]
pub struct LiveFlags {
    /// Whose credentials sign in to FDI.
    #[arg(long, value_enum, value_name = "SOURCE", default_value_t)]
    pub credentials: Credentials,

    /// Hosts that credentials may be sent to beside Huawei Cloud's own, as for fdi-operator run:
    /// https://HOST[:PORT], * for one whole label.
    #[arg(
        long = "allowed-endpoints",
        env = "FDI_OPERATOR_ALLOWED_ENDPOINTS",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    allowed_endpoints: Vec<String>,

    /// Allow plain http:// in --allowed-endpoints, and this machine as an endpoint. For
    /// simulators.
    #[arg(long, env = "FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS")]
    allow_insecure_endpoints: bool,
}

/// Why the tasks could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("--allowed-endpoints: {0}")]
    AllowedEndpoints(#[from] InvalidPattern),
    #[error("the FdiInstance \"{instance}\" cannot be used: {cause}")]
    Instance { instance: String, cause: String },
    #[error("{0}")]
    Secret(String),
    #[error(
        "you may not read the Secret \"{name}\" in namespace \"{namespace}\": ask for the verb get on it, or sign in \
         with your own key (--credentials environment)"
    )]
    SecretForbidden { name: String, namespace: String },
    #[error("the Secret \"{name}\" could not be read: {cause}")]
    SecretUnreadable { name: String, cause: String },
    #[error("the variable {0} is not set: the key of the environment is {ACCESS_KEY} and {SECRET_KEY}")]
    Variable(&'static str),
    #[error(
        "{PROJECT_ID} is \"{variable}\", but the instance \"{instance}\" is in the project \"{project}\": unset the \
         variable, or set the one of that project"
    )]
    OtherProject { variable: String, instance: String, project: String },
    #[error("the tasks of the FdiInstance \"{instance}\" could not be listed: {error}")]
    Call { instance: String, error: CallError },
}

impl From<LiveError> for CommandError {
    fn from(error: LiveError) -> Self {
        Self::Fdi(Box::new(error))
    }
}

/// What FDI listed.
#[derive(Debug)]
pub struct Listed {
    pub instance: FdiInstance,
    pub tasks: Vec<Task>,
}

/// All tasks of the `FdiInstance` of this name, with their attributes where `attributes` says so.
pub async fn list(
    cluster: &Cluster,
    flags: &LiveFlags,
    instance: &str,
    attributes: Attributes,
) -> Result<Listed, CommandError> {
    let instance: FdiInstance = cluster.get(instance).await?;
    let tasks = list_of(cluster, flags, &instance, attributes).await?;
    Ok(Listed { instance, tasks })
}

/// The same of an object that the caller has read.
pub async fn list_of(
    cluster: &Cluster,
    flags: &LiveFlags,
    instance: &FdiInstance,
    attributes: Attributes,
) -> Result<Vec<Task>, LiveError> {
    let sign_in = sign_in(cluster, flags, instance).await?;
    list_with(flags, instance, sign_in, attributes, Arc::new(Unobserved)).await
}

/// The same without a cluster, with the key of the environment.
pub async fn list_without_cluster(
    flags: &LiveFlags,
    instance: &FdiInstance,
    attributes: Attributes,
) -> Result<Vec<Task>, LiveError> {
    let sign_in = from_environment(instance, |name| env::var(name).ok())?;
    list_with(flags, instance, sign_in, attributes, Arc::new(Unobserved)).await
}

/// The same with credentials that the caller has, and `observer` notified of every request.
pub async fn list_with(
    flags: &LiveFlags,
    instance: &FdiInstance,
    sign_in: SignIn,
    attributes: Attributes,
    observer: Arc<dyn RequestObserver>,
) -> Result<Vec<Task>, LiveError> {
    let failed = |error| LiveError::Call { instance: instance.name_any(), error };
    let tasks = connect(flags, instance, sign_in, observer)?.list(attributes, None).await.map_err(failed)?;
    Ok(tasks.to_vec())
}

fn connect(
    flags: &LiveFlags,
    instance: &FdiInstance,
    sign_in: SignIn,
    observer: Arc<dyn RequestObserver>,
) -> Result<Arc<dyn FdiApi>, LiveError> {
    let fdi = Fdi::new(flags.fdi_config())?;
    let limits = instance.spec.limits();
    let positive = |count: i32| u32::try_from(count).unwrap_or(1).max(1);
    let limiter = RequestLimiter::new(positive(limits.requests_per_second), positive(limits.max_concurrent_calls));
    fdi.connect(&instance.spec.connection(), sign_in, &Arc::new(limiter), observer)
        .map_err(|error| LiveError::Call { instance: instance.name_any(), error })
}

impl LiveFlags {
    fn fdi_config(&self) -> FdiConfig {
        FdiConfig {
            allowed_endpoints: list_items(&self.allowed_endpoints).into_iter().map(str::to_owned).collect(),
            allow_insecure: self.allow_insecure_endpoints,
            ..FdiConfig::default()
        }
    }
}

/// The credentials for an instance, from wherever the flags say.
pub async fn sign_in(cluster: &Cluster, flags: &LiveFlags, instance: &FdiInstance) -> Result<SignIn, LiveError> {
    let unusable = |cause: &str| LiveError::Instance { instance: instance.name_any(), cause: cause.to_owned() };
    if let Some(error) = &instance.spec.decode_error {
        return Err(unusable(error));
    }
    if flags.credentials == Credentials::Environment {
        return from_environment(instance, |name| env::var(name).ok());
    }
    let auth = &instance.spec.auth;
    let name = &secret::reference(auth).map_err(|error| unusable(error.message()))?.name;
    let namespace = instance.meta().namespace.as_deref().unwrap_or(&cluster.namespace);
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
    let stored = secrets.get_opt(name).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 403 => {
            LiveError::SecretForbidden { name: name.clone(), namespace: namespace.to_owned() }
        }
        error => LiveError::SecretUnreadable { name: name.clone(), cause: describe(&error) },
    })?;
    let missing = || LiveError::Secret(format!("namespace \"{namespace}\" has no Secret \"{name}\": create it"));
    secret::sign_in(auth, name, stored.ok_or_else(missing)?)
        .map_err(|error| LiveError::Secret(error.message().to_owned()))
}

/// The credentials in the variables that the official SDK reads.
fn from_environment(instance: &FdiInstance, variable: impl Fn(&str) -> Option<String>) -> Result<SignIn, LiveError> {
    let value = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let needed = |name: &'static str| value(name).ok_or(LiveError::Variable(name));
    let project = &instance.spec.project_id;
    if let Some(variable) = value(PROJECT_ID).filter(|variable| variable != project) {
        return Err(LiveError::OtherProject { variable, instance: instance.name_any(), project: project.clone() });
    }
    Ok(SignIn::AccessKey {
        access_key: needed(ACCESS_KEY)?.into(),
        secret_key: needed(SECRET_KEY)?.into(),
        security_token: value(SECURITY_TOKEN).map(Into::into),
    })
}

/// Nobody counts the requests of a command.
struct Unobserved;

impl RequestObserver for Unobserved {
    fn request(&self, _: Operation, _: &'static str, _: Duration, _: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::FdiInstanceSpec;

    fn instance() -> FdiInstance {
        FdiInstance::new("roma", FdiInstanceSpec { project_id: "p1".to_owned(), ..FdiInstanceSpec::default() })
    }

    fn signed_in(variables: &[(&str, &str)]) -> Result<SignIn, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        from_environment(&instance(), variable).map_err(|error| error.to_string())
    }

    #[test]
    fn the_variables_of_the_official_sdk_sign_in() {
        let key = [(ACCESS_KEY, "AK"), (SECRET_KEY, " SK\n")];
        assert!(matches!(signed_in(&key), Ok(SignIn::AccessKey { security_token: None, .. })));
        let temporary = [key[0], key[1], (SECURITY_TOKEN, "T"), (PROJECT_ID, "p1")];
        assert!(matches!(signed_in(&temporary), Ok(SignIn::AccessKey { security_token: Some(_), .. })));
    }

    #[test]
    fn a_variable_that_is_missing_or_of_another_project_is_named() {
        let error = signed_in(&[(ACCESS_KEY, "AK"), (SECRET_KEY, "")]).unwrap_err();
        assert!(error.contains("HUAWEICLOUD_SDK_SK is not set"), "{error}");
        let error = signed_in(&[(ACCESS_KEY, "AK"), (SECRET_KEY, "SK"), (PROJECT_ID, "p2")]).unwrap_err();
        assert!(error.contains("\"p2\"") && error.contains("\"p1\""), "{error}");
    }
}
