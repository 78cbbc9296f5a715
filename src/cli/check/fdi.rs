//! One instance: its Secret, the sign-in, the list, and the clocks.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::DATE;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use parking_lot::Mutex;

use super::finding::Finding;
use crate::cli::cluster::Cluster;
use crate::cli::live::{self, LiveError, LiveFlags};
use crate::crd::FdiInstance;
use crate::fdi::{Attributes, Cause, Operation, RequestObserver, SignIn};

/// The gateway refuses signatures that are older or newer than this.
const SIGNATURE_VALID: SignedDuration = SignedDuration::from_secs(15 * 60);

/// The service shows whole seconds, and a response takes its time.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(30);

/// How far the clock of the service is ahead of ours, from the header Date of the last response.
#[derive(Default)]
struct Clocks(Mutex<Option<SignedDuration>>);

impl RequestObserver for Clocks {
    fn request(&self, _: Operation, _: &'static str, _: Duration, _: Duration) {}

    fn response(&self, headers: &HeaderMap, received: Timestamp) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| rfc2822::parse(date).ok()) {
            *self.0.lock() = Some(date.timestamp().duration_since(received));
        }
    }
}

pub async fn check(cluster: &Cluster, flags: &LiveFlags, instance: &FdiInstance) -> Vec<Finding> {
    let name = instance.name_any();
    let about = |what: &str| format!("{name}: {what}");
    let sign_in = match live::sign_in(cluster, flags, instance).await {
        Ok(sign_in) => sign_in,
        Err(error) => return vec![Finding::failed(about("credentials"), error.to_string())],
    };
    let mut findings = vec![Finding::ok(about(credentials(&sign_in)))];
    let signed = matches!(sign_in, SignIn::AccessKey { .. });
    let clocks = Arc::new(Clocks::default());
    match live::list_with(flags, instance, sign_in, Attributes::Omit, clocks.clone()).await {
        Ok(tasks) => {
            findings.push(Finding::ok(about("endpoint and sign-in")));
            findings.push(Finding::ok(about(&format!("permission to list tasks: {} tasks", tasks.len()))));
        }
        Err(error) => {
            let signed_in = matches!(&error, LiveError::Call { error, .. } if error.cause == Cause::Forbidden);
            if signed_in {
                findings.push(Finding::ok(about("endpoint and sign-in")));
            }
            let check = if signed_in { "permission to list tasks" } else { "endpoint and sign-in" };
            findings.push(Finding::failed(about(check), error.to_string()));
        }
    }
    let skew = *clocks.0.lock();
    findings.extend(skew.map(|skew| clock(about("clock"), skew, signed)));
    findings
}

fn credentials(sign_in: &SignIn) -> &'static str {
    match sign_in {
        SignIn::AccessKey { security_token: None, .. } => "credentials: an access key",
        SignIn::AccessKey { security_token: Some(_), .. } => "credentials: a temporary access key",
        SignIn::Password { .. } => "credentials: an IAM user with a password",
        SignIn::Token(_) => "credentials: a token, which ends after 24 hours",
    }
}

fn clock(check: String, skew: SignedDuration, signed: bool) -> Finding {
    let seconds = skew.as_secs().abs();
    let side = if skew.is_negative() { "ahead of" } else { "behind" };
    let message = format!(
        "the clock of this machine is {seconds} s {side} that of the service: synchronise it (NTP); a signature is valid \
         for 15 minutes"
    );
    if skew.abs() <= SAME_TIME {
        Finding::ok(check)
    } else if signed && skew.abs() >= SIGNATURE_VALID {
        Finding::failed(check, message)
    } else {
        Finding::limited(check, message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Mark;
    use super::*;

    #[test]
    fn a_clock_fails_only_where_it_invalidates_signatures() {
        let mark = |seconds, signed| clock(String::new(), SignedDuration::from_secs(seconds), signed).mark;
        assert_eq!([mark(0, true), mark(-30, true)], [Mark::Ok, Mark::Ok]);
        assert_eq!([mark(60, true), mark(-1000, false)], [Mark::Limited, Mark::Limited]);
        assert_eq!(mark(-900, true), Mark::Failed);
        assert!(clock(String::new(), SignedDuration::from_secs(-900), true).message.contains("900 s ahead of"));
    }

    #[test]
    fn the_date_of_a_response_is_compared_with_its_arrival() {
        let clocks = Clocks::default();
        let headers = HeaderMap::from_iter([(DATE, "Thu, 26 Nov 2026 07:00:10 GMT".parse().unwrap())]);
        clocks.response(&headers, "2026-11-26T07:00:00Z".parse().unwrap());
        assert_eq!(*clocks.0.lock(), Some(SignedDuration::from_secs(10)));
    }
}
