//! Clients for a [`Server`], and what it answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fdi::api::{BatchResponse, FdiApi, SendError};
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::batch::Batch;
use crate::fdi::connect::{Connection, Fdi, FdiConfig};
use crate::fdi::endpoint::Location;
use crate::fdi::error::CallError;
use crate::fdi::observer::{Operation, RequestObserver};
use crate::fdi::rate_limit::RequestLimiter;
use crate::fdi::task::{Action, TaskId};
use crate::fdi::tests::scripted_server::{Does, Server, http};

pub fn ok(body: &str) -> Does {
    Does::Answer(http("200 OK", "x-request-id: r-1\r\n", body))
}

pub const REFUSED: &str = r#"{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}"#;
pub const STALE: &str = r#"{"error_code":"APIGW.0307","error_msg":"The token must be updated."}"#;
pub const NO_TASKS: &str = r#"{"total":0,"size":0,"entities":[]}"#;

pub fn unauthorized(body: &str) -> Does {
    Does::Answer(http("401 Unauthorized", "", body))
}

/// Remembers the requests that it was notified of.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<(Operation, &'static str)>>);

impl RequestObserver for Recorder {
    fn request(&self, operation: Operation, result: &'static str, _: Duration, _: Duration) {
        self.0.lock().unwrap().push((operation, result));
    }
}

pub fn fdi() -> Fdi {
    Fdi::new(FdiConfig {
        allow_insecure: true,
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_millis(500),
        ..FdiConfig::default()
    })
    .unwrap()
}

pub fn connection(server: &Server) -> Connection {
    Connection {
        location: Location::Endpoint(server.address.clone()),
        project_id: "p/1".to_owned(),
        instance_id: "i 1".to_owned(),
        iam_endpoint: Some(server.address.clone()),
        ca_bundle: None,
    }
}

pub fn connect(fdi: &Fdi, server: &Server, sign_in: SignIn) -> Arc<dyn FdiApi> {
    fdi.connect(&connection(server), sign_in, &Arc::new(RequestLimiter::new(1000, 10)), Arc::new(Recorder::default()))
        .unwrap()
}

pub fn token() -> SignIn {
    SignIn::Token("s3cr3t-token".into())
}

pub fn password() -> SignIn {
    SignIn::Password { domain: "d".into(), user: "u".into(), password: "s3cr3t-password".into() }
}

pub fn batch(ids: &[&str]) -> Batch {
    Batch::new(Action::Start, ids.iter().map(|&id| TaskId::new(id).unwrap()).collect()).unwrap()
}

pub async fn start(api: &Arc<dyn FdiApi>, ids: &[&str]) -> Result<BatchResponse, CallError> {
    match api.start_or_stop(api.acquire().await?, &batch(ids)).await {
        Err(SendError::Call(error)) => Err(error),
        result => Ok(result.unwrap()),
    }
}

/// IAM and FDI in one: IAM issues the tokens `T0`, `T1` …; FDI accepts those that `accepts` says.
pub async fn iam(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    let issued = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |_, request| {
        if request.starts_with("POST /v3/auth/tokens?nocatalog=true ") {
            let number = issued.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Does::Answer(http("201 Created", &format!("x-subject-token: T{number}\r\n"), r#"{"token":{}}"#));
        }
        let token = request.lines().find_map(|line| line.strip_prefix("x-auth-token: ")).unwrap();
        if accepts(token) { ok(NO_TASKS) } else { unauthorized(STALE) }
    })
    .await
}

pub fn requests_to_iam(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.starts_with("POST /v3/")).count()
}
