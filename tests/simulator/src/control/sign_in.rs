//! Tokens, access keys and users.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{delete, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ControlError, done};
use crate::handle::Handle;
use crate::sign_in::{AccessKey, User};

pub(super) fn router() -> Router<Handle> {
    Router::new()
        .route("/tokens", post(set_token))
        .route("/tokens/revoke", post(revoke_token))
        .route("/tokens/expire", post(expire_token))
        .route("/keys/{access}", put(set_key).delete(remove_key))
        .route("/users", put(set_user))
        .route("/users/{domain}/{name}", delete(remove_user))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// One as IAM would issue it when absent.
    token: Option<String>,
    project: Option<String>,
    #[serde(default = "a_day")]
    valid_seconds: u64,
}

fn a_day() -> u64 {
    24 * 60 * 60
}

async fn set_token(State(sim): State<Handle>, Json(new): Json<NewToken>) -> Json<Value> {
    let value = new.token.unwrap_or_else(|| sim.issue_token(new.project.as_deref().unwrap_or_default()));
    sim.set_token(&value, new.project.as_deref(), Duration::from_secs(new.valid_seconds));
    Json(json!({"token": value}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichToken {
    /// All when absent.
    token: Option<String>,
}

async fn revoke_token(State(sim): State<Handle>, Json(which): Json<WhichToken>) -> Answer {
    match which.token {
        None => sim.revoke_all_tokens(),
        Some(token) if sim.revoke_token(&token) => {}
        Some(_) => return Err(no_such_token()),
    }
    Ok(done())
}

async fn expire_token(State(sim): State<Handle>, Json(which): Json<WhichToken>) -> Answer {
    match which.token {
        None => sim.expire_all_tokens(),
        Some(token) if sim.expire_token(&token) => {}
        Some(_) => return Err(no_such_token()),
    }
    Ok(done())
}

fn no_such_token() -> ControlError {
    ControlError::NotFound("there is no such token".into())
}

async fn set_key(State(sim): State<Handle>, Path(access): Path<String>, Json(key): Json<AccessKey>) -> Json<Value> {
    sim.set_key(&access, key);
    done()
}

async fn remove_key(State(sim): State<Handle>, Path(access): Path<String>) -> Answer {
    if sim.remove_key(&access) {
        Ok(done())
    } else {
        Err(ControlError::NotFound(format!("there is no access key \"{access}\"")))
    }
}

async fn set_user(State(sim): State<Handle>, Json(user): Json<User>) -> Json<Value> {
    sim.set_user(user);
    done()
}

async fn remove_user(State(sim): State<Handle>, Path((domain, name)): Path<(String, String)>) -> Answer {
    if sim.remove_user(&domain, &name) {
        Ok(done())
    } else {
        Err(ControlError::NotFound(format!("there is no user \"{name}\" in domain \"{domain}\"")))
    }
}
