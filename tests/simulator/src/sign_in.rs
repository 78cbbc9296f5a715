//! Sign-in: tokens, and access keys with their signatures, lock-out and clock skew.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::log::Identity;
use crate::policy::{Policies, SignIn, SignInErrors, WrongProject};
use crate::signature::{Authorization, Signed, sha256_hex};
use crate::wire::Refusal;
use crate::world::World;

/// How far `X-Sdk-Date` may be from the gateway's clock.
const MAX_SKEW: Millis = 15 * 60 * 1000;
/// More consecutive failures than this lock an access key …
const MAX_FAILURES: u32 = 5;
/// … for this long, also for right signatures.
const LOCK: Millis = 5 * 60 * 1000;

/// An IAM token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The project ID it is scoped to; `None`: an account-wide token, which is valid for no
    /// project.
    pub project: Option<String>,
    pub user: String,
    pub domain: String,
    pub issued_at: Millis,
    pub expires_at: Millis,
    pub revoked: bool,
    /// Its user may list but not call.
    pub read_only: bool,
}

/// An access key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    pub secret: String,
    /// Temporary keys come with a token that must be sent as `X-Security-Token`.
    #[serde(default)]
    pub security_token: Option<String>,
    /// The project IDs it is valid for; empty: all.
    #[serde(default)]
    pub projects: Vec<String>,
    /// It may list and show, but not start, stop or run: 403 APIGW.0302, or 400 ROMA.1006.
    #[serde(default)]
    pub read_only: bool,
}

/// An access key as the gateway holds it.
#[derive(Debug)]
pub(crate) struct HeldKey {
    key: AccessKey,
    /// Consecutive failures so far.
    failures: u32,
    locked_until: Millis,
}

impl HeldKey {
    pub fn new(key: AccessKey) -> Self {
        Self { key, failures: 0, locked_until: Millis::MIN }
    }
}

impl AccessKey {
    /// A permanent key that is valid for every project.
    pub fn new(secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..Self::default() }
    }
}

/// How IAM answers a user who asks for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserState {
    #[default]
    Active,
    /// 401 IAM.0061
    Locked,
    /// 401 IAM.0066
    Expired,
    /// 401: `methods` must contain `totp` as well.
    MfaOnly,
    /// 403 IAM.0081
    ConsoleOnly,
    /// 429 IAM.0012
    Throttled,
}

/// An IAM user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub domain: String,
    pub name: String,
    #[serde(skip_serializing)]
    pub password: String,
    #[serde(default)]
    pub state: UserState,
    /// The project IDs it may get tokens for; empty: all.
    #[serde(default)]
    pub projects: Vec<String>,
    /// Its tokens may list and show, but not start, stop or run.
    #[serde(default)]
    pub read_only: bool,
}

impl User {
    /// An active user who may get tokens for every project.
    pub fn new(domain: &str, name: &str, password: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            name: name.to_owned(),
            password: password.to_owned(),
            state: UserState::Active,
            projects: Vec::new(),
            read_only: false,
        }
    }
}

/// A caller who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub scope: Scope,
    pub read_only: bool,
}

/// The projects in which a caller may act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Projects(Vec<String>),
    /// An account-wide token.
    Account,
}

/// Why a sign-in is refused; the policy decides whether the gateway or ROMA words it.
enum SignInError {
    Missing,
    Wrong(&'static str),
    Expired,
}

/// The gateway masks the access key.
const UNKNOWN_KEY: SignInError = SignInError::Wrong("Get secretKey failed,ak:******,err:ak not exist");

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// What a caller signs in with. A signature wins over a token.
enum Credential<'a> {
    None,
    Token(&'a str),
    Signature(Authorization),
}

impl<'a> Credential<'a> {
    fn of(headers: &'a [(String, String)]) -> Self {
        let signature = header(headers, "authorization").and_then(Authorization::parse);
        let token = header(headers, "x-auth-token").filter(|token| !token.is_empty());
        match (signature, token) {
            (Some(signature), _) => Self::Signature(signature),
            (None, Some(token)) => Self::Token(token),
            (None, None) => Self::None,
        }
    }
}

/// Who a caller claims to be, for the log.
pub(crate) fn claimed(headers: &[(String, String)]) -> Identity {
    match Credential::of(headers) {
        Credential::None => Identity::None,
        Credential::Token(token) => Identity::Token(sha256_hex(token.as_bytes())[..12].to_owned()),
        Credential::Signature(authorization) => Identity::AccessKey(authorization.access),
    }
}

/// Checks the sign-in. `accepted_keys` are the only access keys that the instance accepts, if it
/// has such a list; the others are unknown there.
pub(crate) fn sign_in(
    world: &mut World,
    request: &Signed<'_>,
    accepted_keys: Option<&[String]>,
    policies: &Policies,
    now: Millis,
) -> Result<Caller, Refusal> {
    let caller = match Credential::of(request.headers) {
        Credential::None => Err(SignInError::Missing),
        Credential::Token(_) if policies.sign_in == SignIn::AccessKey => {
            Err(SignInError::Wrong("token authentication is not supported"))
        }
        Credential::Token(token) => check_token(world, token, now),
        Credential::Signature(_) if policies.sign_in == SignIn::Token => {
            Err(SignInError::Wrong("AK/SK authentication is not supported"))
        }
        Credential::Signature(authorization) => match accepted_keys {
            Some(keys) if !keys.contains(&authorization.access) => Err(UNKNOWN_KEY),
            _ => check_key(world, request, &authorization, now),
        },
    };
    caller.map_err(|error| refusal(error, policies))
}

/// Checks that the caller may act in a project.
pub(crate) fn authorize_project(scope: &Scope, project: &str, policies: &Policies) -> Result<(), Refusal> {
    let authorized = match scope {
        Scope::All => true,
        Scope::Projects(projects) => projects.iter().any(|p| p == project),
        Scope::Account => false,
    };
    match (authorized, policies.sign_in_errors, policies.wrong_project) {
        (true, ..) => Ok(()),
        (false, SignInErrors::Gateway, WrongProject::Fdi3039) => Err(wrong_project()),
        (false, SignInErrors::Roma, _) | (false, _, WrongProject::Apigw0302) => Err(not_authorized(policies)),
    }
}

/// The caller is known but may not do this.
pub(crate) fn not_authorized(policies: &Policies) -> Refusal {
    match policies.sign_in_errors {
        SignInErrors::Roma => {
            Refusal::fdi(400, "ROMA.1006", "You do not have the permissions required to perform this operation.")
        }
        SignInErrors::Gateway => {
            Refusal::gateway(403, "APIGW.0302", "The IAM user is not authorized to access the API.")
        }
    }
}

pub(crate) fn wrong_project() -> Refusal {
    Refusal::fdi(400, "FDI.3039", "The project ID is empty or does not match the project ID in the URL.")
}

fn refusal(error: SignInError, policies: &Policies) -> Refusal {
    let incorrect = |detail: &str| {
        Refusal::gateway(401, "APIGW.0301", &format!("Incorrect IAM authentication information: {detail}"))
    };
    match (policies.sign_in_errors, error) {
        (SignInErrors::Roma, SignInError::Missing) => {
            Refusal::fdi(400, "ROMA.1000", "No token is available in the request.")
        }
        (SignInErrors::Roma, _) => Refusal::fdi(400, "ROMA.1002", "Incorrect token in the request."),
        (SignInErrors::Gateway, SignInError::Missing) => incorrect("x-auth-token not found"),
        (SignInErrors::Gateway, SignInError::Wrong(detail)) => incorrect(detail),
        (SignInErrors::Gateway, SignInError::Expired) => {
            Refusal::gateway(401, "APIGW.0307", "The token must be updated.")
        }
    }
}

fn check_token(world: &World, token: &str, now: Millis) -> Result<Caller, SignInError> {
    let token = world.tokens.get(token).ok_or(SignInError::Wrong("decrypt token fail"))?;
    if token.revoked || token.expires_at <= now {
        return Err(SignInError::Expired);
    }
    let scope = token.project.clone().map_or(Scope::Account, |project| Scope::Projects(vec![project]));
    Ok(Caller { scope, read_only: token.read_only })
}

fn check_key(
    world: &mut World,
    request: &Signed<'_>,
    authorization: &Authorization,
    now: Millis,
) -> Result<Caller, SignInError> {
    let date = header(request.headers, "x-sdk-date").unwrap_or_default();
    let security_token = header(request.headers, "x-security-token");
    let held = world.keys.get_mut(&authorization.access).ok_or(UNKNOWN_KEY)?;
    if now < held.locked_until {
        return Err(SignInError::Wrong("AK access failed to reach the limit,forbidden."));
    }
    let date_is_signed = authorization.signed_headers.iter().any(|name| name.eq_ignore_ascii_case("x-sdk-date"));
    let key = &held.key;
    let verdict = if key.security_token.as_deref() != security_token {
        Err("decrypt token fail")
    } else if !date_is_signed || !request.is_signed_with(&key.secret, date, authorization) {
        Err("verify aksk signature fail")
    } else if sdk_date(date).is_none_or(|date| (date - now).abs() > MAX_SKEW) {
        Err("calc ak sk signature fail:signature expired")
    } else {
        let scope = if key.projects.is_empty() { Scope::All } else { Scope::Projects(key.projects.clone()) };
        Ok(Caller { scope, read_only: key.read_only })
    };
    if verdict.is_ok() {
        held.failures = 0;
    } else {
        held.failures += 1;
        if held.failures > MAX_FAILURES {
            held.failures = 0;
            held.locked_until = now + LOCK;
        }
    }
    verdict.map_err(SignInError::Wrong)
}

/// `YYYYMMDDTHHMMSSZ`.
fn sdk_date(text: &str) -> Option<Millis> {
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}
