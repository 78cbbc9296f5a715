//! A caller without sockets: the requests of a client, answered in this process.

use bytes::Bytes;
use fdi_simulator::signature::Signed;
use fdi_simulator::{Clock, Handle, InstanceHandle, Reply};
use http::Request;
use serde_json::{Value, json};

pub const PROJECT: &str = "0123456789abcdef0123456789abcdef";
pub const INSTANCE: &str = "1d94f3f6-1111-2222-3333-444455556666";
/// 2026-01-02T03:04:05Z, the date of the signature vectors.
pub const NOW: i64 = 1_767_323_045_000;
pub const DATE: &str = "20260102T030405Z";

/// A simulator whose time stands still, with one instance and one token.
pub struct Caller {
    pub sim: Handle,
    pub instance: InstanceHandle,
    pub token: String,
}

/// Status, body, `X-Request-Id`.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub request_id: String,
}

impl Answer {
    pub fn of(reply: &Reply) -> Self {
        let id = reply.response.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
        let body = serde_json::from_slice(reply.response.body()).unwrap_or(Value::Null);
        Self { status: reply.response.status().as_u16(), body, request_id: id }
    }

    #[track_caller]
    pub fn is_error(&self, status: u16, code: &str, message: &str) {
        assert_eq!((self.status, &self.body), (status, &json!({"error_code": code, "error_msg": message})));
    }

    /// The IDs under `success` or `failure`.
    pub fn ids(&self, list: &str) -> Vec<String> {
        let items = self.body[list].as_array().unwrap();
        items.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Caller {
    pub fn new() -> Self {
        let sim = Handle::new(Clock::settable(NOW));
        let instance = sim.instance(PROJECT, INSTANCE);
        let token = sim.issue_token(PROJECT);
        Self { sim, instance, token }
    }

    pub fn path(rest: &str) -> String {
        format!("/v2/{PROJECT}/fdi/instances/{INSTANCE}{rest}")
    }

    /// Sends a request with the token.
    pub fn reply(&self, method: &str, path: &str, body: &str) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "roma.test")
            .header("content-type", "application/json")
            .header("x-auth-token", &self.token)
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        self.sim.handle(request).unwrap()
    }

    pub fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        Answer::of(&self.reply(method, path, body))
    }

    pub fn get(&self, rest: &str) -> Answer {
        self.send("GET", &Self::path(rest), "")
    }

    /// A POST without a body.
    pub fn post(&self, rest: &str) -> Answer {
        self.send("POST", &Self::path(rest), "")
    }

    pub fn batch<T: AsRef<str>>(&self, action: &str, ids: &[T]) -> Answer {
        let list: Vec<Value> = ids.iter().map(|id| json!({"task_id": id.as_ref()})).collect();
        self.raw_batch(&json!({"action_id": action, "list": list}).to_string())
    }

    pub fn raw_batch(&self, body: &str) -> Answer {
        self.send("POST", &Self::path("/batch-operation/tasks"), body)
    }

    /// Sends a request with exactly these headers.
    pub fn send_with(&self, method: &str, target: &str, headers: &[(String, String)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        Answer::of(&self.sim.handle(request.body(Bytes::from(body.to_owned())).unwrap()).unwrap())
    }

    /// Sends a GET signed with an access key at `date`.
    pub fn signed_get(&self, target: &str, access: &str, secret: &str, date: &str) -> Answer {
        self.signed_get_with(target, (access, secret), date, &[])
    }

    /// The same with further headers, signed too.
    pub fn signed_get_with(
        &self,
        target: &str,
        (access, secret): (&str, &str),
        date: &str,
        further: &[(&str, &str)],
    ) -> Answer {
        let mut headers = vec![("host".to_owned(), "roma.test".to_owned()), ("x-sdk-date".to_owned(), date.to_owned())];
        headers.extend(further.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        self.send_signed(("GET", target, ""), (access, secret, date), headers)
    }

    /// Sends a request signed with an access key at [`DATE`].
    pub fn signed(&self, method: &str, target: &str, (access, secret): (&str, &str), body: &str) -> Answer {
        let headers = vec![("host".to_owned(), "roma.test".to_owned()), ("x-sdk-date".to_owned(), DATE.to_owned())];
        self.send_signed((method, target, body), (access, secret, DATE), headers)
    }

    /// Signs all these headers and sends them with the signature.
    fn send_signed(
        &self,
        (method, target, body): (&str, &str, &str),
        (access, secret, date): (&str, &str, &str),
        mut headers: Vec<(String, String)>,
    ) -> Answer {
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let signed = Signed { method, path, query, headers: &headers, body: body.as_bytes() };
        let authorization = signed.authorize(access, secret, date, &names).unwrap();
        headers.push(("authorization".to_owned(), authorization));
        self.send_with(method, target, &headers, body)
    }
}
