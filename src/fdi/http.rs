//! One FDI instance over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{HeaderMap, HeaderName};
use jiff::Timestamp;
use reqwest::Method as Verb;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};

use crate::fdi::api::{BatchResponse, FdiApi, SendError, Slot};
use crate::fdi::auth::access_key::{Parts, encoded};
use crate::fdi::auth::circuit_breaker::{Circuit, authenticates};
use crate::fdi::auth::password::{self, CachedToken, Token, TokenCache};
use crate::fdi::auth::sign_in::{AUTH_TOKEN, SignIn, secret_header};
use crate::fdi::batch::Batch;
use crate::fdi::batch_response::parse_response;
use crate::fdi::classify::{RequestContext, classify, malformed_response};
use crate::fdi::endpoint::Endpoint;
use crate::fdi::error::{CallError, Class};
use crate::fdi::monitor_log::{self, parse_cause};
use crate::fdi::observer::Operation;
use crate::fdi::rate_limit::RequestLimiter;
use crate::fdi::request::{HttpRequest, Sender};
use crate::fdi::task::{Attributes, TaskId};
use crate::fdi::task_list::{Listing, Next, PAGE_LIMIT, parse_page, too_large};
use crate::fdi::tasks::{Page, Tasks};
use crate::fdi::text::Redactor;
use crate::fdi::transport::HttpResponse;
use crate::fdi::wire::operate_tasks;

/// How often a list is read while its pages are inconsistent.
const LIST_TRIES: usize = 2;

/// How often a request of a list is sent while its token has ended early.
const TOKEN_TRIES: usize = 2;

/// One FDI instance, signed in.
pub struct HttpFdi {
    pub sender: Sender,
    pub endpoint: Endpoint,
    pub project_id: String,
    pub sign_in: SignIn,
    pub redactor: Redactor,
    /// The credential at this instance.
    pub circuit: Circuit,
    /// Where a password is exchanged for a token.
    pub iam: Option<Iam>,
    pub limiter: Arc<RequestLimiter>,
    /// For a whole list: all its pages, sign-in, waits and both tries together.
    pub list_timeout: Duration,
}

/// IAM, for a password.
pub struct Iam {
    pub endpoint: Endpoint,
    /// The credential at IAM.
    pub circuit: Circuit,
    pub tokens: Arc<TokenCache>,
}

impl fmt::Debug for HttpFdi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFdi")
            .field("endpoint", &self.endpoint.as_str())
            .field("instance_id", &self.sender.instance_id)
            .finish_non_exhaustive()
    }
}

impl HttpFdi {
    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/fdi/instances/{}/{rest}", encoded(&self.project_id), encoded(&self.sender.instance_id))
    }

    async fn list_all(&self, attributes: Attributes, known: Option<&Tasks>) -> Result<Tasks, CallError> {
        let tries = async {
            for _ in 0..LIST_TRIES {
                if let Some(listing) = self.list_once(attributes, known).await? {
                    let skipped = listing.skipped();
                    if skipped > 0 {
                        let instance_id = &self.sender.instance_id;
                        tracing::debug!(instance_id, skipped, "skipped tasks without a usable ID");
                    }
                    return Ok(listing.into_tasks());
                }
            }
            Err(CallError::unavailable(
                "ListIncomplete",
                "The pages of the task list are inconsistent: tasks are created or deleted while it is read.",
            ))
        };
        timeout(self.list_timeout, tries).await.unwrap_or_else(|_| {
            let seconds = self.list_timeout.as_secs();
            let message = format!(
                "The list of all tasks was not complete after {seconds} s. The service is slow; the operator tries again."
            );
            Err(CallError::unavailable("ListTimeout", &message))
        })
    }

    /// All pages; `None` when they are inconsistent.
    async fn list_once<'a>(
        &self,
        attributes: Attributes,
        known: Option<&'a Tasks>,
    ) -> Result<Option<Listing<'a>>, CallError> {
        let path = self.path("tasks");
        let mut listing = Listing::new(attributes, known);
        let mut offset = 0;
        loop {
            let read = |context: &RequestContext<'_>, response: &HttpResponse| {
                parse_page(context, response, attributes, |digest| listing.known_page(digest))
            };
            let page = self.list_page(&path, offset, read).await?;
            match listing.add(page) {
                Next::Page(next) => offset = next,
                Next::Complete => return Ok(Some(listing)),
                Next::Inconsistent => return Ok(None),
                Next::TooLarge => return Err(too_large()),
            }
        }
    }

    async fn list_page(
        &self,
        path: &str,
        offset: usize,
        read: impl Fn(&RequestContext<'_>, &HttpResponse) -> Result<Page, CallError>,
    ) -> Result<Page, CallError> {
        let query = format!("limit={PAGE_LIMIT}&offset={offset}");
        let mut tries = 0;
        loop {
            let slot = self.slot().await?;
            let request = HttpRequest {
                verb: Verb::GET,
                endpoint: &self.endpoint,
                path,
                query: &query,
                body: Vec::new(),
                count: 0,
                waited: slot.waited,
            };
            tries += 1;
            match self.send(Operation::List, request, slot, &read).await {
                Err(Unsent { error: _, token_ended: true }) if tries < TOKEN_TRIES => {}
                result => return result.map_err(|unsent| unsent.error),
            }
        }
    }

    async fn send_batch(&self, slot: Slot, batch: &Batch) -> Result<BatchResponse, SendError> {
        let request = HttpRequest {
            verb: Verb::POST,
            endpoint: &self.endpoint,
            path: &self.path("batch-operation/tasks"),
            query: "",
            body: operate_tasks(batch),
            count: batch.ids().len(),
            waited: slot.waited,
        };
        let read = |context: &RequestContext<'_>, response: &HttpResponse| parse_response(context, batch, response);
        Ok(self.send(Operation::from(batch.action()), request, slot, read).await?)
    }

    async fn read_log(&self, slot: Slot, id: &TaskId, query: &str) -> Result<Option<String>, SendError> {
        let request = HttpRequest {
            verb: Verb::GET,
            endpoint: &self.endpoint,
            path: &self.path(&format!("tasks/{}/monitor-logs", encoded(id.as_str()))),
            query,
            body: Vec::new(),
            count: 1,
            waited: slot.waited,
        };
        Ok(self.send(Operation::MonitorLog, request, slot, parse_cause).await?)
    }

    /// Waits for all that a request needs. The longest wait comes first, and an open circuit costs
    /// nothing of the rate.
    async fn slot(&self) -> Result<Slot, CallError> {
        let started = Instant::now();
        self.circuit.check()?;
        loop {
            let token = match &self.iam {
                Some(iam) => Some(self.token(iam).await?),
                None => None,
            };
            let place = self.limiter.acquire().await?;
            let admission = self.circuit.admit().await?;
            if token.as_ref().is_none_or(|cached| cached.token.is_valid()) {
                return Ok(Slot { place, token, admission, waited: started.elapsed() });
            }
        }
    }

    /// Sends at once and records whether the service throttled, and in the circuit breaker whether
    /// the credential was accepted. A token from the cache that is refused has ended early, which
    /// is no refusal of the credential.
    async fn send<T>(
        &self,
        operation: Operation,
        request: HttpRequest<'_>,
        slot: Slot,
        read: impl Fn(&RequestContext<'_>, &HttpResponse) -> Result<T, CallError>,
    ) -> Result<T, Unsent> {
        let Slot { place, token, admission, waited: _ } = slot;
        let headers = self.headers(&request, token.as_ref().map(|cached| &cached.token))?;
        // The service may also echo IAM's token, which the Secret does not contain.
        let redactor = self.redactor.with(token.as_ref().map(|cached| &cached.token.value));
        let method = self.sign_in.method();
        let context = RequestContext { operation, method, redactor: &redactor, tasks: request.count };
        let mut outcome = self.sender.send(request, headers, &context, read).await;
        match &outcome {
            Ok(_) => self.limiter.record_served(),
            Err(error) if error.class == Class::Throttled => {
                self.limiter.record_throttled(&place, error.retry_after);
            }
            Err(_) => {}
        }
        match &mut outcome {
            Err(error) if error.class == Class::SignIn => {
                if let (Some(iam), Some(cached)) = (&self.iam, &token) {
                    iam.tokens.forget(&cached.token);
                    if !cached.newly_issued {
                        return Err(Unsent { error: error.clone(), token_ended: true });
                    }
                }
                admission.refused(error);
            }
            outcome if authenticates(outcome) => admission.accepted(),
            _ => drop(admission),
        }
        outcome.map_err(Unsent::from)
    }

    /// The headers that sign `request`.
    fn headers(&self, request: &HttpRequest<'_>, token: Option<&Token>) -> Result<HeaderMap, CallError> {
        let mut headers = request.headers();
        let method = self.sign_in.method();
        match &self.sign_in {
            SignIn::Token(token) => {
                headers.insert(AUTH_TOKEN, secret_header(method, token.expose_secret())?);
            }
            SignIn::Password { .. } => {
                if let Some(token) = token {
                    headers.insert(AUTH_TOKEN, secret_header(method, token.value.expose_secret())?);
                }
            }
            SignIn::AccessKey { access_key, secret_key, security_token } => {
                let parts = Parts {
                    method: request.verb.as_str(),
                    host: request.endpoint.authority(),
                    path: request.path,
                    query: request.query,
                    content_type: request.content_type(),
                    project_id: &self.project_id,
                    body: &request.body,
                };
                let signed = parts.sign(access_key, secret_key, security_token.as_ref(), Timestamp::now());
                for (name, value) in signed {
                    headers.insert(HeaderName::from_static(name), secret_header(method, &value)?);
                }
            }
        }
        Ok(headers)
    }

    /// A token for the project, cached or from IAM.
    async fn token(&self, iam: &Iam) -> Result<CachedToken, CallError> {
        iam.tokens.token(&iam.circuit, || self.request_token(iam)).await
    }

    async fn request_token(&self, iam: &Iam) -> Result<Token, CallError> {
        let SignIn::Password { domain, user, password } = &self.sign_in else {
            return Err(CallError::unavailable("NoPassword", "There is no password to sign in with."));
        };
        let (path, query) = password::TOKENS;
        let request = HttpRequest {
            verb: Verb::POST,
            endpoint: &iam.endpoint,
            path,
            query,
            body: password::request_body(domain, user, password, &self.project_id),
            count: 0,
            waited: Duration::ZERO,
        };
        let read = |context: &RequestContext<'_>, response: &HttpResponse| match response.status {
            200 | 201 => {
                password::token_in(response).ok_or_else(|| malformed_response(context, response, "it holds no token"))
            }
            _ => Err(classify(context, response)),
        };
        let headers = request.headers();
        let method = self.sign_in.method();
        let context = RequestContext { operation: Operation::SignIn, method, redactor: &self.redactor, tasks: 0 };
        self.sender.send(request, headers, &context, read).await
    }
}

/// A request that had no effect, or whose effect is not known.
struct Unsent {
    error: CallError,
    token_ended: bool,
}

impl From<CallError> for Unsent {
    fn from(error: CallError) -> Self {
        Self { error, token_ended: false }
    }
}

impl From<Unsent> for SendError {
    fn from(unsent: Unsent) -> Self {
        if unsent.token_ended { Self::SlotExpired } else { unsent.error.into() }
    }
}

impl FdiApi for HttpFdi {
    fn list<'a>(&'a self, attributes: Attributes, known: Option<&'a Tasks>) -> BoxFuture<'a, Result<Tasks, CallError>> {
        self.list_all(attributes, known).boxed()
    }

    fn acquire(&self) -> BoxFuture<'_, Result<Slot, CallError>> {
        self.slot().boxed()
    }

    fn start_or_stop<'a>(&'a self, slot: Slot, batch: &'a Batch) -> BoxFuture<'a, Result<BatchResponse, SendError>> {
        self.send_batch(slot, batch).boxed()
    }

    fn run_failure<'a>(
        &'a self,
        slot: Slot,
        id: &'a TaskId,
        since: Timestamp,
        scheduled: bool,
    ) -> BoxFuture<'a, Result<Option<String>, SendError>> {
        async move { self.read_log(slot, id, &monitor_log::query(since, scheduled)).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
