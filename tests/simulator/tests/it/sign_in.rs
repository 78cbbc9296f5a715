//! Tokens and access keys at the gateway: who is accepted, and which errors the others get.

use std::time::Duration;

use fdi_simulator::{AccessKey, Effect, Identity, Operation, SignIn, SignInErrors, Trigger, WrongProject};
use serde_json::json;

use crate::caller::{Answer, Caller, DATE, INSTANCE, PROJECT};

const SECRET: &str = "wJalrXUtnFEMI0K7MDENGbPxRfiCYEXAMPLEROMA";

fn with_token(caller: &Caller, token: &str) -> Answer {
    caller.send_with("GET", &Caller::path("/tasks"), &[("x-auth-token".to_owned(), token.to_owned())], "")
}

#[track_caller]
fn is_gateway(answer: &Answer, status: u16, code: &str, message: &str) {
    let body = json!({"error_msg": message, "error_code": code, "request_id": answer.request_id});
    assert_eq!((answer.status, &answer.body), (status, &body));
}

#[track_caller]
fn is_incorrect(answer: &Answer, detail: &str) {
    is_gateway(answer, 401, "APIGW.0301", &format!("Incorrect IAM authentication information: {detail}"));
}

fn with_key() -> Caller {
    let caller = Caller::new();
    caller.sim.set_key("AK", AccessKey::new(SECRET));
    caller
}

#[test]
fn without_or_with_an_unknown_token_the_gateway_answers_0301() {
    let caller = Caller::new();
    is_incorrect(&caller.send_with("GET", &Caller::path("/tasks"), &[], ""), "x-auth-token not found");
    is_incorrect(&with_token(&caller, "nonsense"), "decrypt token fail");
    assert_eq!(caller.sim.counts(&fdi_simulator::Filter::default()).sign_ins_refused, 2);
}

#[test]
fn an_expired_or_revoked_token_must_be_updated() {
    let caller = Caller::new();
    caller.sim.set_token("short", Some(PROJECT), Duration::from_mins(1));
    assert_eq!(with_token(&caller, "short").status, 200);
    caller.sim.clock().advance(Duration::from_mins(1));
    is_gateway(&with_token(&caller, "short"), 401, "APIGW.0307", "The token must be updated.");
    assert_eq!(caller.get("/tasks").status, 200);
    assert!(caller.sim.revoke_token(&caller.token));
    is_gateway(&caller.get("/tasks"), 401, "APIGW.0307", "The token must be updated.");
}

#[test]
fn a_token_of_another_project_or_of_none_is_answered_as_the_policy_says() {
    let caller = Caller::new();
    caller.sim.set_token("other", Some("another project"), Duration::from_mins(1));
    caller.sim.set_token("account", None, Duration::from_mins(1));
    for token in ["other", "account"] {
        let message = "The project ID is empty or does not match the project ID in the URL.";
        with_token(&caller, token).is_error(400, "FDI.3039", message);
    }
    caller.sim.set_policies(|policies| policies.wrong_project = WrongProject::Apigw0302);
    is_gateway(&with_token(&caller, "other"), 403, "APIGW.0302", "The IAM user is not authorized to access the API.");
}

#[test]
fn roma_itself_may_refuse_a_sign_in_with_400() {
    let caller = Caller::new();
    caller.sim.set_token("other", Some("another project"), Duration::from_mins(1));
    caller.sim.set_policies(|policies| policies.sign_in_errors = SignInErrors::Roma);
    let none = caller.send_with("GET", &Caller::path("/tasks"), &[], "");
    none.is_error(400, "ROMA.1000", "No token is available in the request.");
    with_token(&caller, "nonsense").is_error(400, "ROMA.1002", "Incorrect token in the request.");
    let message = "You do not have the permissions required to perform this operation.";
    with_token(&caller, "other").is_error(400, "ROMA.1006", message);
    assert_eq!(caller.sim.counts(&fdi_simulator::Filter::default()).sign_ins_refused, 3);
}

#[test]
fn a_right_signature_gets_in_whatever_the_spelling_of_path_and_query() {
    let caller = with_key();
    for query in [
        "",
        "?limit=10&offset=0",
        "?offset=0&limit=10",
        "?task_name=a%20b%2Bc%2Fd~e%2A",
        "?x=&x=2&x=1&y",
        "?task_name=%E8%AE%A2%E5%8D%95",
    ] {
        let answer = caller.signed_get(&Caller::path(&format!("/tasks{query}")), "AK", SECRET, DATE);
        assert_eq!(answer.status, 200, "{query}");
    }
    let odd = format!("/v2/{PROJECT}/fdi/instances/{INSTANCE}/tasks/x%20y%2Fz");
    assert_eq!(caller.signed_get(&odd, "AK", SECRET, DATE).status, 404);
    assert!(caller.instance.calls().iter().all(|call| call.identity == Identity::AccessKey("AK".to_owned())));
}

#[test]
fn a_wrong_secret_and_an_unknown_key_get_different_answers() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    is_incorrect(&caller.signed_get(&path, "AK", "wrong", DATE), "verify aksk signature fail");
    is_incorrect(&caller.signed_get(&path, "AK2", SECRET, DATE), "Get secretKey failed,ak:******,err:ak not exist");
}

#[test]
fn a_body_or_query_that_was_changed_after_signing_is_refused() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    caller.signed_get(&path, "AK", SECRET, DATE);
    let headers = |signed: &str| {
        let authorization = format!(
            "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature={}",
            signed.rsplit('=').next().unwrap()
        );
        vec![
            ("host".to_owned(), "roma.test".to_owned()),
            ("x-sdk-date".to_owned(), DATE.to_owned()),
            ("authorization".to_owned(), authorization),
        ]
    };
    let own = [("host".to_owned(), "roma.test".to_owned()), ("x-sdk-date".to_owned(), DATE.to_owned())];
    let signed = fdi_simulator::signature::Signed { method: "GET", path: &path, query: "", headers: &own, body: b"" };
    let good = headers(&signed.authorize("AK", SECRET, DATE, &["host", "x-sdk-date"]).unwrap());
    assert_eq!(caller.send_with("GET", &path, &good, "").status, 200);
    is_incorrect(&caller.send_with("GET", &path, &good, "{}"), "verify aksk signature fail");
    is_incorrect(&caller.send_with("GET", &format!("{path}?limit=1"), &good, ""), "verify aksk signature fail");
    let mut other_host = good;
    other_host[0].1 = "elsewhere.test".to_owned();
    is_incorrect(&caller.send_with("GET", &path, &other_host, ""), "verify aksk signature fail");
}

#[test]
fn a_date_that_is_not_signed_proves_nothing() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    let own = [("host".to_owned(), "roma.test".to_owned()), ("x-sdk-date".to_owned(), DATE.to_owned())];
    let signed = fdi_simulator::signature::Signed { method: "GET", path: &path, query: "", headers: &own, body: b"" };
    let authorization = signed.authorize("AK", SECRET, DATE, &["host"]).unwrap();
    let headers = [own.to_vec(), vec![("authorization".to_owned(), authorization)]].concat();
    is_incorrect(&caller.send_with("GET", &path, &headers, ""), "verify aksk signature fail");
}

#[test]
fn a_clock_off_by_more_than_15_minutes_or_a_late_replay_is_a_signature_expired() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    assert_eq!(caller.signed_get(&path, "AK", SECRET, "20260102T031905Z").status, 200, "15 minutes ahead");
    let ahead = caller.signed_get(&path, "AK", SECRET, "20260102T031906Z");
    is_incorrect(&ahead, "calc ak sk signature fail:signature expired");
    caller.sim.clock().advance(Duration::from_secs(901));
    is_incorrect(&caller.signed_get(&path, "AK", SECRET, DATE), "calc ak sk signature fail:signature expired");
    let nonsense = caller.signed_get(&path, "AK", SECRET, "yesterday");
    is_incorrect(&nonsense, "calc ak sk signature fail:signature expired");
}

#[test]
fn a_wrong_key_locks_after_six_refusals_and_then_right_signatures_fail_too() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    for _ in 0..6 {
        is_incorrect(&caller.signed_get(&path, "AK", "wrong", DATE), "verify aksk signature fail");
    }
    let locked = "AK access failed to reach the limit,forbidden.";
    is_incorrect(&caller.signed_get(&path, "AK", SECRET, DATE), locked);
    caller.sim.clock().advance(Duration::from_secs(299));
    is_incorrect(&caller.signed_get(&path, "AK", SECRET, DATE), locked);
    caller.sim.clock().advance(Duration::from_secs(1));
    assert_eq!(caller.signed_get(&path, "AK", SECRET, DATE).status, 200);
}

#[test]
fn five_refusals_and_a_success_do_not_lock() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    for _ in 0..3 {
        for _ in 0..5 {
            caller.signed_get(&path, "AK", "wrong", DATE);
        }
        assert_eq!(caller.signed_get(&path, "AK", SECRET, DATE).status, 200);
    }
}

#[test]
fn temporary_keys_need_their_security_token() {
    let caller = Caller::new();
    caller.sim.set_key("TMP", AccessKey { security_token: Some("st/1+==".to_owned()), ..AccessKey::new(SECRET) });
    let path = Caller::path("/tasks");
    is_incorrect(&caller.signed_get(&path, "TMP", SECRET, DATE), "decrypt token fail");
    let wrong = [("x-security-token", "other")];
    is_incorrect(&caller.signed_get_with(&path, ("TMP", SECRET), DATE, &wrong), "decrypt token fail");
    let right = [("x-security-token", "st/1+==")];
    assert_eq!(caller.signed_get_with(&path, ("TMP", SECRET), DATE, &right).status, 200);
}

#[test]
fn a_key_of_other_projects_and_a_project_header_for_another_url_are_refused() {
    let caller = Caller::new();
    caller.sim.set_key("ELSE", AccessKey { projects: vec!["elsewhere".to_owned()], ..AccessKey::new(SECRET) });
    caller.sim.set_key("AK", AccessKey::new(SECRET));
    let path = Caller::path("/tasks");
    let message = "The project ID is empty or does not match the project ID in the URL.";
    caller.signed_get(&path, "ELSE", SECRET, DATE).is_error(400, "FDI.3039", message);
    let other = [("x-project-id", "elsewhere")];
    caller.signed_get_with(&path, ("AK", SECRET), DATE, &other).is_error(400, "FDI.3039", message);
    assert_eq!(caller.signed_get_with(&path, ("AK", SECRET), DATE, &[("x-project-id", PROJECT)]).status, 200);
}

#[test]
fn which_sign_ins_are_taken_is_a_policy() {
    let caller = with_key();
    let path = Caller::path("/tasks");
    caller.sim.set_policies(|policies| policies.sign_in = SignIn::Token);
    assert_eq!((caller.get("/tasks").status, caller.signed_get(&path, "AK", SECRET, DATE).status), (200, 401));
    caller.sim.set_policies(|policies| policies.sign_in = SignIn::AccessKey);
    assert_eq!((caller.get("/tasks").status, caller.signed_get(&path, "AK", SECRET, DATE).status), (401, 200));
}

#[test]
fn a_path_or_method_that_is_no_api_is_404_before_any_sign_in() {
    let caller = Caller::new();
    let message = "The API does not exist or has not been published in the environment.";
    is_gateway(&caller.send_with("GET", "/v2/nothing", &[], ""), 404, "APIGW.0101", message);
    is_gateway(&caller.send_with("DELETE", &Caller::path("/tasks"), &[], ""), 404, "APIGW.0101", message);
    let calls = caller.sim.calls(&fdi_simulator::Filter::default());
    assert!(calls.iter().all(|call| call.operation == Operation::Other));
}

#[test]
fn what_is_too_large_is_refused_with_0201() {
    let caller = Caller::new();
    let query = "x".repeat(33 * 1024);
    is_gateway(&caller.get(&format!("/tasks?{query}")), 414, "APIGW.0201", "Request URI too large.");
    is_gateway(&with_token(&caller, &query), 494, "APIGW.0201", "Request headers too large.");
    let body = " ".repeat(12 * 1024 * 1024 + 1);
    is_gateway(&caller.raw_batch(&body), 413, "APIGW.0201", "Request entity too large.");
}

#[test]
fn a_read_only_key_lists_and_may_not_call() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.sim.set_key("RO", AccessKey { read_only: true, ..AccessKey::new(SECRET) });
    for path in ["/tasks", "/task-monitors", "/statistics/tasks"] {
        assert_eq!(caller.signed_get(&Caller::path(path), "RO", SECRET, DATE).status, 200);
    }
    let body = json!({"action_id": "start", "list": [{"task_id": ids[0]}]}).to_string();
    let run = format!("/tasks/{}/run", ids[0]);
    for (path, body) in [("/batch-operation/tasks", &*body), (&*run, "")] {
        let answer = caller.signed("POST", &Caller::path(path), ("RO", SECRET), body);
        is_gateway(&answer, 403, "APIGW.0302", "The IAM user is not authorized to access the API.");
    }
    assert!(caller.instance.running().is_empty());
    caller.sim.set_policies(|policies| policies.sign_in_errors = SignInErrors::Roma);
    let answer = caller.signed("POST", &Caller::path("/batch-operation/tasks"), ("RO", SECRET), &body);
    let message = "You do not have the permissions required to perform this operation.";
    answer.is_error(400, "ROMA.1006", message);
}

#[test]
fn a_right_key_may_be_refused_by_one_instance_only_and_is_not_locked_for_it() {
    let caller = with_key();
    let other = caller.sim.instance(PROJECT, "other");
    other.fault(Trigger::all().identity("AK"), Effect::sign_in_refused());
    let (refusing, serving) = (format!("/v2/{PROJECT}/fdi/instances/other/tasks"), Caller::path("/tasks"));
    for _ in 0..10 {
        is_incorrect(&caller.signed_get(&refusing, "AK", SECRET, DATE), "verify aksk signature fail");
        assert_eq!(caller.signed_get(&serving, "AK", SECRET, DATE).status, 200);
    }
}

#[test]
fn each_instance_may_accept_keys_of_its_own() {
    let caller = with_key();
    caller.sim.set_key("AK2", AccessKey::new(SECRET));
    let other = caller.sim.instance(PROJECT, "other");
    caller.instance.accept_only_keys(&["AK"]);
    other.accept_only_keys(&["AK2"]);
    let (here, there) = (Caller::path("/tasks"), format!("/v2/{PROJECT}/fdi/instances/other/tasks"));
    let status = |path: &str, key: &str| caller.signed_get(path, key, SECRET, DATE).status;
    let statuses = [status(&here, "AK"), status(&here, "AK2"), status(&there, "AK"), status(&there, "AK2")];
    assert_eq!(statuses, [200, 401, 401, 200]);
    let unknown = "Get secretKey failed,ak:******,err:ak not exist";
    is_incorrect(&caller.signed_get(&here, "AK2", SECRET, DATE), unknown);
    assert_eq!(caller.get("/tasks").status, 200, "tokens are not affected");
    caller.instance.accept_all_keys();
    assert_eq!(status(&here, "AK2"), 200);
}
