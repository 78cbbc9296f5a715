//! One request of an instance: sent, read, logged and reported to the observer.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::Method;
use tokio::time::Instant;

use crate::fdi::classify::{RequestContext, request_id};
use crate::fdi::endpoint::Endpoint;
use crate::fdi::error::CallError;
use crate::fdi::http_clients::HttpClient;
use crate::fdi::observer::RequestObserver;
use crate::fdi::transport::{HttpResponse, exchange};

/// As the official SDK sends them: with a character set where there is a body.
const JSON: &str = "application/json";
const JSON_UTF8: &str = "application/json;charset=utf-8";

/// A request without its signature.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    pub verb: Method,
    pub endpoint: &'a Endpoint,
    pub path: &'a str,
    pub query: &'a str,
    pub body: Vec<u8>,
    /// How many tasks the batch has.
    pub count: usize,
    pub waited: Duration,
}

impl HttpRequest<'_> {
    pub fn content_type(&self) -> &'static str {
        if self.body.is_empty() { JSON } else { JSON_UTF8 }
    }

    /// The headers of every request.
    pub fn headers(&self) -> HeaderMap {
        let content_type = (CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        HeaderMap::from_iter([content_type, (ACCEPT, HeaderValue::from_static(JSON))])
    }
}

/// Sends the requests of one instance.
pub struct Sender {
    pub client: HttpClient,
    pub observer: Arc<dyn RequestObserver>,
    pub instance_id: String,
}

impl Sender {
    /// Sends `request` at once and reads the response with `read`.
    ///
    /// # Errors
    /// What `read` returns, or why no response came.
    pub async fn send<T>(
        &self,
        request: HttpRequest<'_>,
        headers: HeaderMap,
        context: &RequestContext<'_>,
        read: impl Fn(&RequestContext<'_>, &HttpResponse) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let question = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{question}{}", request.endpoint, request.path, request.query);
        let http_request = self.client.client.request(request.verb, url).headers(headers).body(request.body).build();
        // Endpoint, path and query are our own, so this cannot fail.
        let http_request =
            http_request.map_err(|_| CallError::unavailable("BadRequest", "The request could not be made."))?;
        let sent = Instant::now();
        let response = exchange(&self.client, http_request).await;
        let latency = sent.elapsed();
        if let Ok(response) = &response {
            self.observer.response(&response.headers, response.received);
        }
        let outcome = response.as_ref().map_err(Clone::clone).and_then(|response| read(context, response));
        let result = outcome.as_ref().map_or_else(|error| error.class.as_str(), |_| "ok");
        self.observer.request(context.operation, result, latency, request.waited);
        tracing::info!(
            operation = context.operation.as_str(),
            instance_id = %self.instance_id,
            count = request.count,
            status = response.as_ref().map_or(0, |response| response.status),
            result,
            code = outcome.as_ref().err().map(|error| error.code.as_str()),
            latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            request_id = response.as_ref().ok().and_then(|response| request_id(&response.headers, context.redactor)),
            "request"
        );
        outcome
    }
}
