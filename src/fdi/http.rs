//! One FDI instance over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use reqwest::Method as Verb;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::fdi::api::{BatchResponse, FdiApi};
use crate::fdi::auth::Credential;
use crate::fdi::auth::access_key::{Parts, encoded};
use crate::fdi::auth::circuit_breaker::authenticates;
use crate::fdi::auth::password::{self, Token, TokenCache};
use crate::fdi::auth::sign_in::{AUTH_TOKEN, SignIn, secret_header};
use crate::fdi::batch::Batch;
use crate::fdi::batch_response::parse_response;
use crate::fdi::classify::{RequestContext, classify, malformed_response, request_id};
use crate::fdi::endpoint::Endpoint;
use crate::fdi::error::{CallError, Class};
use crate::fdi::observer::{Operation, RequestObserver};
use crate::fdi::rate_limit::{RequestLimiter, Slot};
use crate::fdi::task::Task;
use crate::fdi::task_list::{Listing, Next, PAGE_LIMIT, Page, parse_page};
use crate::fdi::text::Redactor;
use crate::fdi::transport::{HttpResponse, exchange};
use crate::fdi::wire::operate_tasks;

/// As the official SDK sends them: with a character set where there is a body.
const JSON: &str = "application/json";
const JSON_UTF8: &str = "application/json;charset=utf-8";

/// How often a list is read while its pages are inconsistent.
const LIST_TRIES: usize = 2;

/// One FDI instance, signed in.
pub struct HttpFdi {
    pub client: reqwest::Client,
    pub endpoint: Endpoint,
    pub project_id: String,
    pub instance_id: String,
    pub sign_in: SignIn,
    pub redactor: Redactor,
    /// Where a password is exchanged for a token.
    pub iam: Option<Endpoint>,
    pub credential: Arc<Credential>,
    pub limiter: Arc<RequestLimiter>,
    pub observer: Arc<dyn RequestObserver>,
}

impl fmt::Debug for HttpFdi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFdi")
            .field("endpoint", &self.endpoint.as_str())
            .field("instance_id", &self.instance_id)
            .finish_non_exhaustive()
    }
}

/// One request, before it is signed.
struct HttpRequest<'a> {
    operation: Operation,
    verb: Verb,
    endpoint: &'a Endpoint,
    path: &'a str,
    query: &'a str,
    body: Vec<u8>,
    /// Tasks of a batch, for the log.
    count: usize,
    waited: Duration,
}

impl HttpRequest<'_> {
    fn content_type(&self) -> &'static str {
        if self.body.is_empty() { JSON } else { JSON_UTF8 }
    }
}

impl HttpFdi {
    fn context<'a>(&self, operation: Operation, redactor: &'a Redactor) -> RequestContext<'a> {
        RequestContext { operation, method: self.sign_in.method(), redactor }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/fdi/instances/{}/{rest}", encoded(&self.project_id), encoded(&self.instance_id))
    }

    async fn list_all(&self) -> Result<Vec<Task>, CallError> {
        for _ in 0..LIST_TRIES {
            if let Some(listing) = self.list_once().await? {
                if listing.skipped() > 0 {
                    tracing::debug!(instance = %self.instance_id, skipped = listing.skipped(), "skipped tasks without a usable ID");
                }
                return Ok(listing.into_tasks());
            }
        }
        Err(CallError::unavailable(
            "ListIncomplete",
            "The pages of the task list are inconsistent: tasks are created or deleted while it is read.",
        ))
    }

    /// All pages; `None` when they are inconsistent.
    async fn list_once(&self) -> Result<Option<Listing>, CallError> {
        let path = self.path("tasks");
        let mut listing = Listing::default();
        let mut offset = 0;
        loop {
            match listing.add(self.list_page(&path, offset).await?) {
                Next::Page(next) => offset = next,
                Next::Complete => return Ok(Some(listing)),
                Next::Inconsistent => return Ok(None),
            }
        }
    }

    async fn list_page(&self, path: &str, offset: usize) -> Result<Page, CallError> {
        let slot = self.limiter.acquire().await;
        let query = format!("limit={PAGE_LIMIT}&offset={offset}");
        let request = HttpRequest {
            operation: Operation::List,
            verb: Verb::GET,
            endpoint: &self.endpoint,
            path,
            query: &query,
            body: Vec::new(),
            count: 0,
            waited: slot.waited(),
        };
        self.send(&request, parse_page).await
    }

    async fn send_batch(&self, slot: Slot, batch: &Batch) -> Result<BatchResponse, CallError> {
        let operation = Operation::from(batch.action());
        let request = HttpRequest {
            operation,
            verb: Verb::POST,
            endpoint: &self.endpoint,
            path: &self.path("batch-operation/tasks"),
            query: "",
            body: operate_tasks(batch),
            count: batch.ids().len(),
            waited: slot.waited(),
        };
        self.send(&request, |context, response| parse_response(context, batch, response)).await
    }

    /// Signs in, sends, and records in the circuit breaker whether the credential was accepted. A
    /// cached token that is refused has ended early: it is renewed, once, and counts as no refusal.
    async fn send<T>(
        &self,
        request: &HttpRequest<'_>,
        read: impl Fn(&RequestContext<'_>, &HttpResponse) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let cache =
            matches!(self.sign_in, SignIn::Password { .. }).then(|| self.credential.token_cache(&self.project_id));
        let mut renewed = false;
        loop {
            let cached = match &cache {
                Some(cache) => Some(self.token(cache).await?),
                None => None,
            };
            let admission = self.credential.breaker.admit().await?;
            let headers = self.headers(request, cached.as_ref().map(|cached| &cached.token))?;
            // The service may also echo IAM's token, which the Secret does not contain.
            let redactor = self.redactor.with(cached.as_ref().map(|cached| &cached.token.value));
            let mut outcome = self.exchange(request, headers, &redactor, &read).await;
            match &mut outcome {
                Err(error) if error.class == Class::SignIn => {
                    let mut ended = false;
                    if let (Some(cache), Some(cached)) = (&cache, &cached) {
                        cache.forget(&cached.token).await;
                        ended = !cached.newly_issued && !renewed;
                    }
                    if ended {
                        renewed = true;
                        drop(admission);
                        continue;
                    }
                    admission.refused(error);
                }
                outcome if authenticates(outcome) => admission.accepted(),
                _ => drop(admission),
            }
            return outcome;
        }
    }

    /// The headers that sign `request`.
    fn headers(&self, request: &HttpRequest<'_>, token: Option<&Token>) -> Result<HeaderMap, CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type()));
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
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
    async fn token(&self, cache: &TokenCache) -> Result<password::CachedToken, CallError> {
        cache.token(&self.credential.breaker, || self.request_token()).await
    }

    async fn request_token(&self) -> Result<Token, CallError> {
        let (SignIn::Password { domain, user, password }, Some(iam)) = (&self.sign_in, &self.iam) else {
            return Err(CallError::unavailable("NoPassword", "There is no password to sign in with."));
        };
        let (path, query) = password::TOKENS;
        let request = HttpRequest {
            operation: Operation::SignIn,
            verb: Verb::POST,
            endpoint: iam,
            path,
            query,
            body: password::request_body(domain, user, password, &self.project_id),
            count: 0,
            waited: Duration::ZERO,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type()));
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        let read = |context: &RequestContext<'_>, response: &HttpResponse| match response.status {
            200 | 201 => {
                password::token_in(response).ok_or_else(|| malformed_response(context, response, "it holds no token"))
            }
            _ => Err(classify(context, response)),
        };
        self.exchange(&request, headers, &self.redactor, &read).await
    }

    /// One request over the wire, reported to the log and the observer.
    async fn exchange<T>(
        &self,
        request: &HttpRequest<'_>,
        headers: HeaderMap,
        redactor: &Redactor,
        read: &impl Fn(&RequestContext<'_>, &HttpResponse) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let question = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{question}{}", request.endpoint, request.path, request.query);
        let http_request =
            self.client.request(request.verb.clone(), url).headers(headers).body(request.body.clone()).build();
        // Endpoint, path and query are our own, so this cannot fail.
        let http_request =
            http_request.map_err(|_| CallError::unavailable("BadRequest", "The request could not be made."))?;
        let sent = Instant::now();
        let response = exchange(&self.client, http_request).await;
        let latency = sent.elapsed();
        let context = self.context(request.operation, redactor);
        let outcome = response.as_ref().map_err(Clone::clone).and_then(|response| read(&context, response));
        let result = outcome.as_ref().map_or_else(|error| error.class.as_str(), |_| "ok");
        self.observer.request(request.operation, result, latency, request.waited);
        tracing::info!(
            operation = request.operation.as_str(),
            instance = %self.instance_id,
            count = request.count,
            status = response.as_ref().map_or(0, |response| response.status),
            result,
            code = outcome.as_ref().err().map(|error| error.code.as_str()),
            latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            request_id = response.as_ref().ok().and_then(|response| request_id(&response.headers, redactor)),
            "request"
        );
        outcome
    }
}

impl FdiApi for HttpFdi {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Task>, CallError>> {
        self.list_all().boxed()
    }

    fn acquire(&self) -> BoxFuture<'_, Slot> {
        self.limiter.acquire().boxed()
    }

    fn start_or_stop<'a>(&'a self, slot: Slot, batch: &'a Batch) -> BoxFuture<'a, Result<BatchResponse, CallError>> {
        async move { self.send_batch(slot, batch).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
