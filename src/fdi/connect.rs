//! Connects to instances: one [`Fdi`] for the process, one [`FdiApi`] for each instance and
//! sign-in.

use std::sync::Arc;
use std::time::Duration;

use crate::fdi::api::FdiApi;
use crate::fdi::auth::Credentials;
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::endpoint::{AllowList, Endpoint, InvalidPattern, Location};
use crate::fdi::error::{CallError, Cause, Class};
use crate::fdi::http::{HttpFdi, Iam};
use crate::fdi::http_clients::{ClientSettings, Clients};
use crate::fdi::observer::RequestObserver;
use crate::fdi::proxy::Proxies;
use crate::fdi::rate_limit::RequestLimiter;
use crate::fdi::request::Sender;
use crate::fdi::resolver::{self, GuardedResolver};

/// How the process talks to FDI and IAM.
#[derive(Debug, Clone)]
pub struct FdiConfig {
    /// Endpoints that are allowed besides those of the public cloud: `https://host[:port]`, where
    /// `*` stands for one label of the host.
    pub allowed_endpoints: Vec<String>,
    /// Allows plain http and loopback addresses. For simulators.
    pub allow_insecure: bool,
    pub connect_timeout: Duration,
    /// From sending a request to the last byte of its response.
    pub request_timeout: Duration,
    pub user_agent: String,
}

impl Default for FdiConfig {
    fn default() -> Self {
        Self {
            allowed_endpoints: Vec::new(),
            allow_insecure: false,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            user_agent: concat!("fdi-operator/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Where an instance is and which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub location: Location,
    pub project_id: String,
    pub instance_id: String,
    /// URL of IAM; derived from `location` where it is missing.
    pub iam_endpoint: Option<String>,
    /// PEM certificates of authorities that are trusted besides the system's.
    pub ca_bundle: Option<String>,
}

/// Which ROMA Connect instance this is, whichever way its endpoint is spelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    endpoint: Endpoint,
    project_id: String,
    instance_id: String,
}

/// What all instances share: the allow-list, the HTTP clients, and what is known about credentials.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fdi(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    allowed: AllowList,
    clients: Clients,
    credentials: Credentials,
    list_timeout: Duration,
}

impl Fdi {
    /// # Errors
    /// When a pattern of `allowed_endpoints` cannot be used.
    pub fn new(config: FdiConfig) -> Result<Self, InvalidPattern> {
        // reqwest takes the process-wide TLS provider; one that is installed already stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let allowed = AllowList::new(&config.allowed_endpoints, config.allow_insecure)?;
        let proxies = Proxies::from_env();
        let resolver =
            GuardedResolver { allowed: allowed.clone(), proxies: proxies.clone(), lookup: resolver::system() };
        let settings = ClientSettings {
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            user_agent: config.user_agent,
            proxies,
        };
        Ok(Self(Arc::new(Shared {
            allowed,
            clients: Clients::new(settings, resolver),
            credentials: Credentials::default(),
            // A page takes at most the request timeout, and a full instance has two pages.
            list_timeout: 2 * config.request_timeout,
        })))
    }

    /// Two connections with the same identity lead to the same tasks.
    ///
    /// # Errors
    /// Class `Config` when the endpoint is not allowed, or an ID cannot be one.
    pub fn identity(&self, connection: &Connection) -> Result<Identity, CallError> {
        Ok(Identity {
            endpoint: self.0.allowed.roma(&connection.location)?,
            project_id: usable_id("projectId", &connection.project_id)?.to_owned(),
            instance_id: usable_id("instanceId", &connection.instance_id)?.to_owned(),
        })
    }

    /// A client for the instance. Sends nothing yet and is cheap to create: `self` keeps
    /// connections, tokens and what is known about the credential, and `limiter` keeps the rate.
    ///
    /// # Errors
    /// Class `Config` when an endpoint is not allowed, an ID cannot be one, or `ca_bundle` is not
    /// PEM.
    pub fn connect(
        &self,
        connection: &Connection,
        sign_in: SignIn,
        limiter: &Arc<RequestLimiter>,
        observer: Arc<dyn RequestObserver>,
    ) -> Result<Arc<dyn FdiApi>, CallError> {
        let identity = self.identity(connection)?;
        let iam = match sign_in {
            SignIn::Password { .. } => {
                Some(self.0.allowed.iam(&connection.location, connection.iam_endpoint.as_deref())?)
            }
            SignIn::Token(_) | SignIn::AccessKey { .. } => None,
        };
        let Identity { endpoint, project_id, instance_id } = identity;
        let site = match (&sign_in, &iam) {
            (_, Some(iam)) => iam.site().to_owned(),
            // A token is valid for one project of one region, and no number of refusals locks it.
            (SignIn::Token(_), _) => format!("{endpoint} {project_id}"),
            _ => endpoint.site().to_owned(),
        };
        let credential = self.0.credentials.get(&site, &sign_in);
        let iam = iam.map(|endpoint| Iam {
            circuit: credential.breaker.circuit(endpoint.as_str()),
            tokens: credential.token_cache(&project_id),
            endpoint,
        });
        Ok(Arc::new(HttpFdi {
            sender: Sender { client: self.0.clients.client(connection.ca_bundle.as_deref())?, observer, instance_id },
            circuit: credential.breaker.circuit(&format!("{endpoint} {project_id} {}", connection.instance_id)),
            endpoint,
            project_id,
            redactor: sign_in.redactor(),
            sign_in,
            iam,
            limiter: Arc::clone(limiter),
            list_timeout: self.0.list_timeout,
        }))
    }
}

/// The API definition allows 1–64 characters. IDs are percent-encoded into the path, where dots
/// alone would still lead out of it.
fn usable_id<'a>(field: &str, id: &'a str) -> Result<&'a str, CallError> {
    let usable = (1..=64).contains(&id.len()) && id.chars().any(|c| c != '.');
    usable.then_some(id).ok_or_else(|| {
        let message = format!("{field} cannot be used: it must have 1 to 64 characters, such as 0123456789abcdef.");
        CallError::new(Class::Config, Cause::RequestRejected, "InvalidId", &message)
    })
}
