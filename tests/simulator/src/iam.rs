//! IAM: tokens for users with passwords, and the list of projects.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::{Millis, iam_time, millis};
use crate::log::Identity;
use crate::sign_in::{Scope, Token, UserState};
use crate::signature::{query_pairs, sha256_hex};
use crate::wire::{Refusal, Speaker};
use crate::world::World;

/// Length of real tokens: the documented example starts a DER structure of 6,840 bytes, 9,120
/// characters of base64.
const TOKEN_LENGTH: usize = 9_120;

#[derive(Debug, Deserialize)]
struct TokenRequest {
    auth: Auth,
}

#[derive(Debug, Deserialize)]
struct Auth {
    identity: IdentityPart,
    #[serde(default)]
    scope: ScopePart,
}

#[derive(Debug, Deserialize)]
struct IdentityPart {
    methods: Vec<String>,
    password: Password,
}

#[derive(Debug, Deserialize)]
struct Password {
    user: PasswordUser,
}

#[derive(Debug, Deserialize)]
struct PasswordUser {
    domain: Named,
    name: String,
    password: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScopePart {
    project: Option<ProjectPart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProjectPart {
    id: Option<String>,
    name: Option<String>,
}

fn token_refusal(status: u16, message: &str) -> Refusal {
    Refusal::new(Speaker::IamToken, status, "", message)
}

/// The user who asks for a token, as far as the body can be read, for the log.
pub(crate) fn claimed(body: &[u8]) -> Identity {
    serde_json::from_slice::<TokenRequest>(body).map_or(Identity::None, |request| {
        let user = request.auth.identity.password.user;
        Identity::User(format!("{}/{}", user.domain.name, user.name))
    })
}

/// `POST /v3/auth/tokens`: the token and the body, answered with 201.
pub(crate) fn issue(world: &mut World, body: &[u8], now: Millis) -> Result<(String, Value), Refusal> {
    let request: TokenRequest =
        serde_json::from_slice(body).map_err(|_| token_refusal(400, "The request body is invalid"))?;
    let Auth { identity, scope } = request.auth;
    let has = |method: &str| identity.methods.iter().any(|m| m == method);
    if !has("password") {
        return Err(token_refusal(400, "The request body is invalid"));
    }
    let asked = identity.password.user;
    let user = world
        .users
        .iter()
        .find(|user| user.domain == asked.domain.name && user.name == asked.name)
        .filter(|user| user.password == asked.password)
        .ok_or_else(|| token_refusal(401, "The username or password is wrong."))?
        .clone();
    let iam = |status, code, message: &str| Err(Refusal::new(Speaker::Iam, status, code, message));
    match user.state {
        UserState::Active => {}
        UserState::MfaOnly if has("totp") => {}
        UserState::MfaOnly => return Err(token_refusal(401, "The MFA verification is required.")),
        UserState::Locked => return iam(401, "IAM.0061", "The account is locked."),
        UserState::Expired => return iam(401, "IAM.0066", "The user has expired."),
        UserState::ConsoleOnly => return iam(403, "IAM.0081", "This user only supports console access."),
        UserState::Throttled => return iam(429, "IAM.0012", "Too many requests."),
    }
    let project = scope.project.map(|wanted| find_project(&world.projects, &wanted)).transpose()?;
    if let Some((id, _)) = &project
        && !user.projects.is_empty()
        && !user.projects.contains(id)
    {
        return Err(token_refusal(403, "You are not authorized to access the project."));
    }
    let seconds = Millis::try_from(world.policies.token_seconds).unwrap_or(Millis::MAX / 2_000);
    let token = Token {
        project: project.as_ref().map(|(id, _)| id.clone()),
        user: user.name.clone(),
        domain: user.domain.clone(),
        issued_at: now,
        expires_at: now + seconds * millis(std::time::Duration::from_secs(1)),
        revoked: false,
        read_only: user.read_only,
    };
    let mut body = describe(&token, &world.projects);
    body["token"]["methods"] = json!(identity.methods);
    Ok((add(world, token), body))
}

/// Registers a token and returns its value.
pub(crate) fn add(world: &mut World, token: Token) -> String {
    world.made_tokens += 1;
    let value = token_value(world.made_tokens);
    world.tokens.insert(value.clone(), token);
    value
}

/// The body that IAM answers with a token.
pub(crate) fn describe(token: &Token, projects: &BTreeMap<String, String>) -> Value {
    let domain = json!({"id": id_of(&token.domain), "name": token.domain});
    let mut body = json!({"token": {
        "catalog": [],
        "expires_at": iam_time(token.expires_at),
        "issued_at": iam_time(token.issued_at),
        "methods": ["password"],
        "roles": [{"id": "0", "name": "roma_adm"}],
        "user": {
            "id": id_of(&token.user),
            "name": token.user,
            "password_expires_at": "",
            "domain": domain,
        },
    }});
    match &token.project {
        Some(id) => body["token"]["project"] = json!({"id": id, "name": projects.get(id), "domain": domain}),
        None => body["token"]["domain"] = domain,
    }
    body
}

/// `GET /v3/projects`, with the filter `name`: the projects that the caller may see.
pub(crate) fn projects(world: &World, query: &str, scope: &Scope) -> Value {
    let name = query_pairs(query)
        .find(|(name, _)| name == b"name")
        .map(|(_, value)| String::from_utf8_lossy(&value).into_owned());
    let found: Vec<Value> = world
        .projects
        .iter()
        .filter(|(_, known)| name.as_ref().is_none_or(|name| name == *known))
        .filter(|(id, _)| match scope {
            Scope::All | Scope::Account => true,
            Scope::Projects(projects) => projects.contains(id),
        })
        .map(|(id, name)| {
            json!({
                "id": id, "name": name, "description": "", "enabled": true, "is_domain": false,
                "domain_id": id_of("domain"), "parent_id": id_of("domain"), "links": {"self": format!("/v3/projects/{id}")},
            })
        })
        .collect();
    json!({"projects": found, "links": {"self": "/v3/projects", "next": null, "previous": null}})
}

/// The project's ID and name. One that does not exist is answered with 401, as Keystone does.
fn find_project(projects: &BTreeMap<String, String>, wanted: &ProjectPart) -> Result<(String, String), Refusal> {
    projects
        .iter()
        .find(|(id, name)| match (&wanted.id, &wanted.name) {
            (Some(wanted), _) => wanted == *id,
            (None, Some(wanted)) => wanted == *name,
            (None, None) => false,
        })
        .map(|(id, name)| (id.clone(), name.clone()))
        .ok_or_else(|| token_refusal(401, "The project does not exist or the user has no access to it."))
}

fn id_of(name: &str) -> String {
    sha256_hex(name.as_bytes())[..32].to_owned()
}

/// A value as long as a real one, with the same beginning.
fn token_value(number: u64) -> String {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+";
    let mut value = String::with_capacity(TOKEN_LENGTH);
    value.push_str("MIIatAYJKoZIhvcNAQcC");
    for block in 0.. {
        for byte in ring::digest::digest(&ring::digest::SHA256, format!("{number}/{block}").as_bytes()).as_ref() {
            value.push(char::from(BASE64[usize::from(byte % 64)]));
            if value.len() == TOKEN_LENGTH {
                return value;
            }
        }
    }
    value
}
