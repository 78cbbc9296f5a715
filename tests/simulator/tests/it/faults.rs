//! What goes wrong between service and caller, as far as it shows without sockets.

use std::time::Duration;

use fdi_simulator::{Action, Delivery, Effect, Identity, Operation, Trigger};
use serde_json::json;

use crate::caller::{Answer, Caller};

#[test]
fn a_fault_strikes_the_requests_it_names_and_then_no_more() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    let on = Trigger::on(Operation::Batch).action(Action::Start).task(&ids[1]).skip(1).times(2);
    let fault = caller.instance.fault(on, Effect::html(502));
    assert_eq!((caller.get("/tasks").status, caller.batch("stop", &ids).status), (200, 200));
    assert_eq!(caller.batch("start", &ids[..1]).status, 200, "does not name the task");
    let seen: Vec<u16> = (0..4).map(|_| caller.batch("start", &ids).status).collect();
    assert_eq!(seen, [200, 502, 502, 200]);
    let struck: Vec<_> = caller.instance.batch_calls().iter().map(|call| call.faults.clone()).collect();
    assert_eq!(struck, [vec![], vec![], vec![], vec![fault], vec![fault], vec![]]);
    assert_eq!(caller.sim.faults()[0].struck, 2);
}

#[test]
fn an_answer_replaces_acting_or_follows_it() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    let fault = caller.instance.fault(Trigger::all(), Effect::fdi(500, "FDI.9999", "Network error."));
    caller.batch("start", &ids).is_error(500, "FDI.9999", "Network error.");
    assert!(caller.instance.running().is_empty());
    assert!(caller.sim.clear_fault(fault));
    caller.instance.fault(Trigger::all(), Effect::html(503).after_acting());
    assert_eq!(caller.batch("start", &ids).status, 503);
    assert_eq!(caller.instance.running(), ids);
    let calls = caller.instance.batch_calls();
    assert_eq!((calls[0].acted_at.is_some(), calls[0].applied.len()), (false, 0));
    assert_eq!((calls[1].acted_at.is_some(), calls[1].applied.len(), calls[1].status), (true, 1, Some(503)));
    assert_eq!(calls[1].told[0].error_code, None, "the service's outcome, not what was answered");
}

#[test]
fn a_throttle_is_429_with_or_without_retry_after_and_carries_the_requests_id() {
    let caller = Caller::new();
    caller.instance.fault(Trigger::all().times(1), Effect::throttled(Some(7)));
    caller.instance.fault(Trigger::all().skip(1).times(1), Effect::throttled(None));
    let first = caller.reply("GET", &Caller::path("/tasks"), "");
    assert_eq!(
        (first.response.status().as_u16(), &first.response.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    let second = caller.reply("GET", &Caller::path("/tasks"), "");
    assert!(!second.response.headers().contains_key("retry-after"));
    let answer = Answer::of(&second);
    assert_eq!(
        (&answer.body["error_code"], &answer.body["request_id"]),
        (&json!("APIGW.0308"), &json!(answer.request_id))
    );
}

#[test]
fn cuts_and_hangs_are_logged_at_arrival_with_what_was_done_and_without_status() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    for (effect, delivery, acted) in [
        (Effect::Cut { acts: false }, Delivery::Cut, false),
        (Effect::Hang { acts: false }, Delivery::Hang, false),
        (Effect::Cut { acts: true }, Delivery::Cut, true),
        (Effect::Hang { acts: true }, Delivery::Hang, true),
    ] {
        caller.instance.set_running(&ids[0], false).unwrap();
        caller.instance.fault(Trigger::all().times(1), effect);
        let body = json!({"action_id": "start", "list": [{"task_id": ids[0]}]}).to_string();
        assert_eq!(caller.reply("POST", &Caller::path("/batch-operation/tasks"), &body).delivery, delivery);
        let call = caller.instance.batch_calls().pop().unwrap();
        assert_eq!((call.status, call.answered_at), (None, None));
        assert!(matches!(call.identity, Identity::Token(_)));
        assert_eq!((call.acted_at.is_some(), call.applied.len() == 1), (acted, acted));
        assert_eq!(caller.instance.running().len(), usize::from(acted));
    }
}

#[test]
fn batch_answers_can_miss_add_or_repeat_ids_and_have_wrong_counts() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(3);
    let batch = |effect: Effect| {
        caller.instance.fault(Trigger::all().times(1), effect);
        let answer = caller.batch("start", &ids);
        (
            answer.ids("success"),
            answer.ids("failure"),
            answer.body["success_count"].clone(),
            answer.body["failure_count"].clone(),
        )
    };
    let (a, b, c) = (ids[0].clone(), ids[1].clone(), ids[2].clone());
    let all = vec![a.clone(), b.clone(), c.clone()];
    assert_eq!(batch(Effect::MissingIds { count: 2 }), (vec![c.clone()], vec![], json!(3), json!(0)));
    let extra = vec![a.clone(), b.clone(), c.clone(), "x".to_owned()];
    assert_eq!(batch(Effect::ExtraIds { ids: vec!["x".into()] }), (extra, vec![], json!(4), json!(0)));
    let twice = vec![a.clone(), b.clone(), c.clone(), a.clone()];
    assert_eq!(batch(Effect::TwiceIds { count: 1 }), (twice, vec![], json!(3), json!(0)));
    assert_eq!(batch(Effect::BothLists { count: 1 }), (all.clone(), vec![a.clone()], json!(3), json!(0)));
    assert_eq!(batch(Effect::WrongCounts { success: -1, failure: 4 }), (all, vec![], json!(2), json!(4)));
    assert_eq!(caller.instance.running().len(), 3, "all the same, it was done");
}

#[test]
fn lists_can_miss_and_repeat_entries_and_have_wrong_counts() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(3);
    let list = |effect: Effect| {
        caller.instance.fault(Trigger::on(Operation::List).times(1), effect);
        let answer = caller.get("/tasks");
        (answer.ids("entities").len(), answer.body["total"].clone(), answer.body["size"].clone())
    };
    assert_eq!(list(Effect::MissingIds { count: 1 }), (2, json!(3), json!(3)));
    assert_eq!(list(Effect::TwiceIds { count: 1 }), (4, json!(3), json!(3)));
    assert_eq!(list(Effect::ExtraIds { ids: vec!["x".into()] }), (4, json!(4), json!(4)));
    assert_eq!(list(Effect::WrongCounts { success: 5, failure: -1 }), (3, json!(8), json!(2)));
    let listed: Vec<String> = caller.instance.list_calls()[0].listed.iter().map(|task| task.id.to_string()).collect();
    assert_eq!(listed, ids[1..], "the log says what was shown");
}

#[test]
fn lists_can_lag_by_time() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.sim.clock().advance(Duration::from_secs(10));
    caller.instance.fault(Trigger::on(Operation::List), Effect::StaleFor { ms: 3_000 });
    caller.batch("start", &ids);
    let young = caller.instance.create_tasks(1);
    let shown = || {
        let answer = caller.get("/tasks");
        let entities = answer.body["entities"].as_array().unwrap().clone();
        entities.iter().map(|task| (task["task_id"] == ids[0], task["status"] == 1)).collect::<Vec<_>>()
    };
    assert_eq!(shown(), [(true, false)]);
    caller.sim.clock().advance(Duration::from_millis(2_999));
    assert_eq!(shown(), [(true, false)]);
    caller.sim.clock().advance(Duration::from_millis(1));
    assert_eq!(shown(), [(true, true), (false, false)]);
    assert_eq!(caller.get(&format!("/tasks/{}", young[0])).status, 200, "show does not lag");
}

#[test]
fn lists_can_lag_by_calls_or_be_frozen() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    let running = || caller.get("/tasks").body["entities"][0]["status"] == 1;
    let fault = caller.instance.fault(Trigger::on(Operation::List), Effect::StaleBy { calls: 2 });
    caller.batch("start", &ids);
    let seen: Vec<bool> = (0..4).map(|_| running()).collect();
    assert_eq!(seen, [false, false, true, true]);
    caller.sim.clear_fault(fault);
    let fault = caller.instance.fault(Trigger::on(Operation::List), Effect::Frozen);
    caller.batch("stop", &ids);
    assert!(running() && running());
    caller.sim.clear_fault(fault);
    assert!(!running());
}

#[test]
fn latencies_and_deliveries_are_returned_to_a_caller_without_sockets() {
    let caller = Caller::new();
    caller.instance.fault(Trigger::all(), Effect::Delay { before_ms: 40, after_ms: 2 });
    caller.instance.fault(Trigger::all(), Effect::CutBody { bytes: 5 });
    let reply = caller.reply("GET", &Caller::path("/tasks"), "");
    assert_eq!((reply.delay_ms, reply.delivery), (42, Delivery::CutBody { bytes: 5 }));
}

#[test]
fn refused_connections_reach_neither_service_nor_log() {
    let caller = Caller::new();
    caller.sim.refuse_connections(true);
    let request = http::Request::get(Caller::path("/tasks")).body(bytes::Bytes::new()).unwrap();
    assert!(caller.sim.handle(request).is_none());
    assert_eq!((caller.sim.last_seq(), caller.sim.refused_connections()), (0, 1));
    caller.sim.refuse_connections(false);
    assert_eq!(caller.get("/tasks").status, 200);
}
