//! Errors as the client reports them, for those who test what becomes of their messages.

use http::HeaderMap;
use jiff::Timestamp;

use crate::fdi::auth::sign_in::Method;
use crate::fdi::classify::{RequestContext, classify};
use crate::fdi::error::{CallError, Cause, Class};
use crate::fdi::text::Redactor;
use crate::fdi::tls_error::invalid_certificate;
use crate::fdi::transport::HttpResponse;
use crate::fdi::{Connection, Fdi, FdiConfig, Location, Operation};

pub use crate::fdi::task_list::too_large;

/// The service answers a request of a user with an access key with this status, code and words.
pub fn answered(operation: Operation, status: u16, code: &str, words: &str) -> CallError {
    let redactor = Redactor::new(Vec::new());
    let context = RequestContext { operation, method: Method::AccessKey, redactor: &redactor, tasks: 10 };
    let body = match code {
        "" => Vec::new(),
        code => format!(r#"{{"error_code":"{code}","error_msg":"{words}"}}"#).into_bytes(),
    };
    let received = Timestamp::UNIX_EPOCH;
    classify(&context, &HttpResponse { status, headers: HeaderMap::new(), body, received })
}

/// The endpoint's certificate is of a private authority.
pub fn untrusted() -> CallError {
    let (code, message) = invalid_certificate(&rustls::CertificateError::UnknownIssuer, "roma.example.com");
    CallError::new(Class::Config, Cause::TlsFailed, code, &message)
}

/// The endpoint is not on the operator's list.
pub fn not_allowed() -> CallError {
    let connection = Connection {
        location: Location::Endpoint("https://roma.example.com".to_owned()),
        project_id: "0123456789abcdef".to_owned(),
        instance_id: "1d94f3f6".to_owned(),
        iam_endpoint: None,
        ca_bundle: None,
    };
    Fdi::new(FdiConfig::default()).unwrap().identity(&connection).unwrap_err()
}
