//! IAM: tokens for passwords, and the list of projects.

use std::time::Duration;

use fdi_simulator::{AccessKey, Delivery, Effect, Filter, Identity, Operation, Trigger, User, UserState};
use serde_json::{Value, json};

use crate::caller::{Answer, Caller, DATE, PROJECT};

fn caller() -> Caller {
    let caller = Caller::new();
    caller.sim.set_project(PROJECT, "cn-north-4");
    caller.sim.set_user(User::new("ACCOUNT", "IAM_USER", "PW"));
    caller
}

fn request(password: &str, methods: &[&str], scope: &Value) -> String {
    json!({"auth": {
        "identity": {"methods": methods, "password": {"user": {
            "domain": {"name": "ACCOUNT"}, "name": "IAM_USER", "password": password,
        }}},
        "scope": scope,
    }})
    .to_string()
}

fn ask(caller: &Caller, password: &str, scope: &Value) -> Answer {
    caller.send_with("POST", "/v3/auth/tokens?nocatalog=true", &[], &request(password, &["password"], scope))
}

#[track_caller]
fn is_token_error(answer: &Answer, status: u16, message: &str, title: &str) {
    assert_eq!(answer.body, json!({"error": {"code": status, "message": message, "title": title}}));
    assert_eq!(answer.status, status);
}

#[test]
fn a_password_gets_a_long_token_for_the_project_by_id_or_by_name() {
    for scope in [json!({"project": {"id": PROJECT}}), json!({"project": {"name": "cn-north-4"}})] {
        let caller = caller();
        let body = request("PW", &["password"], &scope);
        let reply = caller.reply("POST", "/v3/auth/tokens", &body);
        assert_eq!(reply.response.status(), 201);
        let token = reply.response.headers()["x-subject-token"].to_str().unwrap().to_owned();
        assert!(token.len() == 9_120 && token.starts_with("MIIatAYJKoZIhvcNAQcC"));
        let told = Answer::of(&reply).body["token"].clone();
        assert_eq!(told["issued_at"], "2026-01-02T03:04:05.000000Z");
        assert_eq!(told["expires_at"], "2026-01-03T03:04:05.000000Z");
        assert_eq!((&told["project"]["id"], &told["project"]["name"]), (&json!(PROJECT), &json!("cn-north-4")));
        assert_eq!(told["methods"], json!(["password"]));
        let list = |caller: &Caller| {
            caller.send_with("GET", &Caller::path("/tasks"), &[("x-auth-token".to_owned(), token.clone())], "").status
        };
        assert_eq!(list(&caller), 200);
        caller.sim.clock().advance(Duration::from_hours(24));
        assert_eq!(list(&caller), 401);
    }
}

#[test]
fn a_new_token_does_not_invalidate_the_old_one() {
    let caller = caller();
    let scope = json!({"project": {"id": PROJECT}});
    let token = || {
        let reply = caller.reply("POST", "/v3/auth/tokens", &request("PW", &["password"], &scope));
        reply.response.headers()["x-subject-token"].to_str().unwrap().to_owned()
    };
    let tokens = [token(), token()];
    assert_ne!(tokens[0], tokens[1]);
    for token in tokens {
        let headers = [("x-auth-token".to_owned(), token)];
        assert_eq!(caller.send_with("GET", &Caller::path("/tasks"), &headers, "").status, 200);
    }
}

#[test]
fn without_a_project_the_token_is_account_wide_and_opens_no_project() {
    let caller = caller();
    let reply = caller.reply("POST", "/v3/auth/tokens", &request("PW", &["password"], &json!({})));
    let token = reply.response.headers()["x-subject-token"].to_str().unwrap().to_owned();
    assert_eq!(Answer::of(&reply).body["token"]["domain"]["name"], "ACCOUNT");
    let answer = caller.send_with("GET", &Caller::path("/tasks"), &[("x-auth-token".to_owned(), token)], "");
    assert_eq!(answer.body["error_code"], "FDI.3039");
}

#[test]
fn a_wrong_password_and_an_unreadable_body_have_the_documented_answers() {
    let caller = caller();
    let scope = json!({"project": {"id": PROJECT}});
    is_token_error(&ask(&caller, "wrong", &scope), 401, "The username or password is wrong.", "Unauthorized");
    let nonsense = caller.send_with("POST", "/v3/auth/tokens", &[], "{}");
    is_token_error(&nonsense, 400, "The request body is invalid", "Bad Request");
    let unknown = json!({"project": {"name": "atlantis"}});
    assert_eq!(ask(&caller, "PW", &unknown).status, 401);
    assert_eq!(caller.sim.counts(&Filter::default()).sign_ins_refused, 2);
    let calls = caller.sim.calls(&Filter { operation: Some(Operation::Token), ..Filter::default() });
    assert_eq!(calls[0].identity, Identity::User("ACCOUNT/IAM_USER".to_owned()));
}

#[test]
fn each_state_of_a_user_has_its_refusal() {
    let caller = caller();
    let scope = json!({"project": {"id": PROJECT}});
    for (state, status, code) in [
        (UserState::Locked, 401, "IAM.0061"),
        (UserState::Expired, 401, "IAM.0066"),
        (UserState::ConsoleOnly, 403, "IAM.0081"),
        (UserState::Throttled, 429, "IAM.0012"),
    ] {
        caller.sim.set_user(User { state, ..User::new("ACCOUNT", "IAM_USER", "PW") });
        let answer = ask(&caller, "PW", &scope);
        assert_eq!((answer.status, &answer.body["error_code"]), (status, &json!(code)));
    }
    caller.sim.set_user(User { state: UserState::MfaOnly, ..User::new("ACCOUNT", "IAM_USER", "PW") });
    assert_eq!(ask(&caller, "PW", &scope).status, 401);
    let with_totp = caller.send_with("POST", "/v3/auth/tokens", &[], &request("PW", &["password", "totp"], &scope));
    assert_eq!(with_totp.status, 201);
}

#[test]
fn a_user_without_the_project_is_forbidden() {
    let caller = caller();
    let projects = vec!["elsewhere".to_owned()];
    caller.sim.set_user(User { projects, ..User::new("ACCOUNT", "IAM_USER", "PW") });
    assert_eq!(ask(&caller, "PW", &json!({"project": {"id": PROJECT}})).status, 403);
}

#[test]
fn projects_are_looked_up_by_name_with_a_signature() {
    let caller = caller();
    caller.sim.set_project("another", "cn-east-3");
    caller.sim.set_key("AK", AccessKey::new("SK"));
    let answer = caller.signed_get("/v3/projects?name=cn-north-4", "AK", "SK", DATE);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["projects"].as_array().unwrap().len(), 1);
    assert_eq!(answer.body["projects"][0]["id"], PROJECT);
    let none = caller.signed_get("/v3/projects?name=atlantis", "AK", "SK", DATE);
    assert_eq!((none.status, &none.body["projects"]), (200, &json!([])));
    assert_eq!(caller.signed_get("/v3/projects?name=cn-north-4", "AK", "wrong", DATE).status, 401);
    assert_eq!(caller.send_with("GET", "/v3/projects?name=cn-north-4", &[], "").status, 401);
}

#[test]
fn a_token_can_be_checked_with_itself() {
    let caller = caller();
    let headers = ["x-auth-token", "x-subject-token"].map(|name| (name.to_owned(), caller.token.clone()));
    let answer = caller.send_with("GET", "/v3/auth/tokens", &headers, "");
    assert_eq!((answer.status, &answer.body["token"]["project"]["id"]), (200, &json!(PROJECT)));
}

#[test]
fn a_sign_in_may_be_slow_or_hang_for_one_user_or_so_many_requests() {
    let caller = caller();
    caller.sim.set_user(User::new("ACCOUNT", "OTHER", "PW"));
    let slow = Trigger::on(Operation::Token).identity("ACCOUNT/IAM_USER").times(1);
    caller.sim.fault(slow.clone(), Effect::Delay { before_ms: 0, after_ms: 20_000 });
    caller.sim.fault(slow.skip(1), Effect::Hang { acts: false });
    let sign_in = |name: &str| {
        let body = request("PW", &["password"], &json!({"project": {"id": PROJECT}})).replace("IAM_USER", name);
        let reply = caller.reply("POST", "/v3/auth/tokens", &body);
        (reply.delay_ms, reply.delivery)
    };
    assert_eq!(sign_in("OTHER"), (0, Delivery::Whole));
    assert_eq!(sign_in("IAM_USER"), (20_000, Delivery::Whole));
    assert_eq!(sign_in("IAM_USER"), (0, Delivery::Hang));
    assert_eq!(sign_in("IAM_USER"), (0, Delivery::Whole));
    assert_eq!(caller.get("/tasks").status, 200, "FDI itself is not affected");
}

#[test]
fn the_token_of_a_read_only_user_lists_and_may_not_call() {
    let caller = caller();
    let ids = caller.instance.create_tasks(1);
    caller.sim.set_user(User { read_only: true, ..User::new("ACCOUNT", "IAM_USER", "PW") });
    let body = request("PW", &["password"], &json!({"project": {"id": PROJECT}}));
    let reply = caller.reply("POST", "/v3/auth/tokens", &body);
    let token = reply.response.headers()["x-subject-token"].to_str().unwrap().to_owned();
    let headers = [("x-auth-token".to_owned(), token)];
    assert_eq!(caller.send_with("GET", &Caller::path("/tasks"), &headers, "").status, 200);
    let batch = json!({"action_id": "start", "list": [{"task_id": ids[0]}]}).to_string();
    let answer = caller.send_with("POST", &Caller::path("/batch-operation/tasks"), &headers, &batch);
    assert_eq!((answer.status, &answer.body["error_code"]), (403, &json!("APIGW.0302")));
}
