//! Rate limits, throttled calls, and outages that end by themselves.

use std::time::Duration;

use fdi_simulator::{Effect, Operation, Trigger};
use http::header::RETRY_AFTER;
use serde_json::json;

use crate::caller::Caller;

fn seconds(caller: &Caller, seconds: u64) {
    caller.sim.clock().advance(Duration::from_secs(seconds));
}

#[test]
fn one_request_in_three_seconds_holds_for_lists_and_calls_alike() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.instance.fault(Trigger::all(), Effect::one_request_per(3_000));
    assert_eq!(caller.get("/tasks").status, 200);
    let refused = caller.batch("start", &ids);
    assert_eq!((refused.status, &refused.body["error_code"]), (429, &json!("APIGW.0308")));
    assert!(caller.instance.running().is_empty(), "a refused call is not acted upon");
    seconds(&caller, 2);
    assert_eq!(caller.get("/tasks").status, 429);
    seconds(&caller, 1);
    assert_eq!(caller.batch("start", &ids).status, 200, "refused requests do not count against the limit");
    assert_eq!((caller.get("/tasks").status, caller.sim.faults()[0].struck), (429, 3));
}

#[test]
fn a_rate_limit_may_allow_several_requests_and_say_when_to_retry() {
    let caller = Caller::new();
    let limit = Effect::RateLimit { requests: 2, per_ms: 10_000, retry_after: true, acts: false };
    caller.instance.fault(Trigger::all(), limit);
    let list = || {
        let response = caller.reply("GET", &Caller::path("/tasks"), "").response;
        (
            response.status().as_u16(),
            response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    assert_eq!(list(), (200, None));
    caller.sim.clock().advance(Duration::from_millis(3_500));
    assert_eq!(list(), (200, None));
    assert_eq!(list(), (429, Some("7".to_owned())), "6.5 seconds until the first is ten seconds old");
    seconds(&caller, 7);
    assert_eq!((list(), list().0), ((200, None), 429));
}

#[test]
fn without_being_asked_a_rate_limit_sends_no_retry_after() {
    let caller = Caller::new();
    caller.instance.fault(Trigger::all(), Effect::one_request_per(1_000));
    caller.get("/tasks");
    let response = caller.reply("GET", &Caller::path("/tasks"), "").response;
    assert_eq!((response.status().as_u16(), response.headers().get(RETRY_AFTER)), (429, None));
}

#[test]
fn a_throttled_call_may_be_acted_upon_all_the_same() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    caller.instance.fault(Trigger::on(Operation::Batch).times(1), Effect::throttled(None).after_acting());
    assert_eq!(caller.batch("start", &ids[..1]).status, 429);
    assert_eq!(caller.instance.running(), ids[..1]);
    caller.instance.fault(Trigger::on(Operation::Batch), Effect::one_request_per(60_000).after_acting());
    caller.batch("stop", &ids[..1]);
    assert_eq!(caller.batch("start", &ids[1..]).status, 429);
    assert_eq!(caller.instance.running(), ids[1..]);
    let calls = caller.instance.batch_calls();
    let applied: Vec<_> = calls.iter().map(|call| (call.status, call.applied.len())).collect();
    assert_eq!(applied, [(Some(429), 1), (Some(200), 1), (Some(429), 1)]);
}

#[test]
fn batch_calls_fail_for_a_span_or_until_the_fault_is_cleared_while_lists_work() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    let on = Trigger::on(Operation::Batch).lasting(Duration::from_secs(150));
    caller.instance.fault(on, Effect::html(502));
    assert_eq!((caller.batch("start", &ids).status, caller.get("/tasks").status), (502, 200));
    seconds(&caller, 149);
    assert_eq!(caller.batch("start", &ids).status, 502);
    seconds(&caller, 1);
    assert_eq!(caller.batch("start", &ids).status, 200);
    let fault = caller.instance.fault(Trigger::on(Operation::Batch), Effect::fdi(500, "FDI.9999", "Network error."));
    seconds(&caller, 1_000);
    assert_eq!((caller.batch("stop", &ids).status, caller.get("/tasks").status), (500, 200));
    caller.sim.clear_fault(fault);
    assert_eq!(caller.batch("stop", &ids).status, 200);
}

#[test]
fn a_fault_may_strike_one_caller_only() {
    let caller = Caller::new();
    caller.sim.set_token("other", Some(crate::caller::PROJECT), Duration::from_secs(60));
    caller.get("/tasks");
    let identity = caller.instance.calls()[0].identity.name().unwrap().to_owned();
    caller.instance.fault(Trigger::all().identity(&identity), Effect::html(503));
    assert_eq!(caller.get("/tasks").status, 503);
    let other = [("x-auth-token".to_owned(), "other".to_owned())];
    assert_eq!(caller.send_with("GET", &Caller::path("/tasks"), &other, "").status, 200);
}
