//! Lists that leave tasks out, hold far too many, or have unreadable entries.

use std::time::Duration;

use fdi_simulator::{Effect, NewTasks, Operation, Trigger};
use serde_json::{Value, json};

use crate::caller::Caller;

fn lists(caller: &Caller, effect: Effect) {
    caller.instance.fault(Trigger::on(Operation::List), effect);
}

/// The bytes of a list.
fn bytes(caller: &Caller) -> Vec<u8> {
    caller.reply("GET", &Caller::path("/tasks"), "").response.into_body().to_vec()
}

#[test]
fn a_list_may_leave_tasks_out_of_entries_and_counts() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(3);
    let once = Trigger::on(Operation::List).times(1);
    caller.instance.fault(once.clone(), Effect::Omits { ids: ids[..2].to_vec() });
    let answer = caller.get("/tasks");
    assert_eq!(
        (answer.ids("entities"), &answer.body["total"], &answer.body["size"]),
        (ids[2..].to_vec(), &json!(1), &json!(1))
    );
    assert_eq!(caller.get("/tasks").ids("entities"), ids, "once");
    lists(&caller, Effect::Omits { ids: Vec::new() });
    for _ in 0..2 {
        assert_eq!(caller.get("/tasks").body, json!({"total": 0, "size": 0, "entities": []}), "until cleared");
    }
    assert_eq!(caller.get(&format!("/tasks/{}", ids[0])).status, 200);
}

#[test]
fn a_status_may_have_an_unknown_value() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    for value in [json!(2), Value::Null, json!("STARTING")] {
        let fault =
            caller.instance.fault(Trigger::on(Operation::List), Effect::entry_field(&ids[0], "status", value.clone()));
        let entities = caller.get("/tasks").body["entities"].clone();
        assert_eq!((&entities[0]["status"], &entities[1]["status"]), (&value, &json!(0)));
        assert_eq!(entities[0]["task_name"], "task-1", "the other fields are as they were");
        caller.sim.clear_fault(fault);
    }
    let listed: Vec<usize> = caller.instance.list_calls().iter().map(|call| call.listed.len()).collect();
    assert_eq!(listed, [1, 1, 1], "the log has no state where none could be read");
    assert_eq!(caller.batch("start", &ids).status, 200, "calls are answered as before");
}

#[test]
fn a_field_may_be_corrupted_in_every_entry() {
    let caller = Caller::new();
    caller.instance.create_tasks(2);
    lists(&caller, Effect::EntryField { entry: None, field: "task_name".into(), value: Value::Null });
    let entities = caller.get("/tasks").body["entities"].clone();
    assert_eq!((&entities[0]["task_name"], &entities[1]["task_name"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_name_may_have_bytes_that_are_not_utf_8_or_half_a_surrogate_pair() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    caller.instance.fault(Trigger::on(Operation::List).times(1), Effect::name_not_utf8(&ids[0]));
    let body = bytes(&caller);
    assert!(std::str::from_utf8(&body).is_err());
    let name = b"\"task_name\":\"orders \xff\xfe\"";
    assert_eq!(body.windows(name.len()).filter(|window| window == name).count(), 1);
    lists(&caller, Effect::name_with_half_a_surrogate_pair(&ids[0]));
    let body = String::from_utf8(bytes(&caller)).unwrap();
    assert!(body.contains(r#""task_name":"orders \ud83d""#), "{body}");
    assert!(serde_json::from_str::<Value>(&body).is_err());
}

#[test]
fn a_key_may_be_repeated_in_an_entry() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    lists(&caller, Effect::entry_repeats(&ids[0], "status", 1));
    let body = String::from_utf8(bytes(&caller)).unwrap();
    assert_eq!(body.matches(r#""status":"#).count(), 3);
    // Of repeated keys this reader takes the last.
    let read: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&read["entities"][0]["status"], &read["entities"][1]["status"]), (&json!(1), &json!(0)));
    assert_eq!((&read["total"], &read["size"]), (&json!(2), &json!(2)));
}

#[test]
fn raw_bytes_and_field_names_of_a_fault_are_checked_when_it_is_set() {
    let fault = |value: Value| serde_json::from_value::<fdi_simulator::Fault>(value).map_err(|error| error.to_string());
    let raw = |raw: &str| json!({"kind": "entry-raw", "operation": "list", "field": "task_name", "raw": raw});
    assert!(fault(raw("\"\u{ff}\"")).is_ok());
    assert_eq!(fault(raw("\u{100}")).unwrap_err(), "raw has characters beyond U+00FF, which stand for no byte");
    let misspelt = json!({"kind": "entry-field", "entri": "a", "field": "status", "value": 2});
    assert_eq!(fault(misspelt).unwrap_err(), "a fault of this kind has no field entri");
}

#[test]
fn a_list_of_a_million_tasks_is_generated_page_by_page() {
    let caller = Caller::new();
    let ids = caller.instance.create(&NewTasks { count: 2, running: true, ..NewTasks::default() });
    lists(&caller, Effect::Crowd { tasks: 1_000_000 });
    let first = caller.get("/tasks?limit=999");
    assert_eq!((&first.body["total"], &first.body["size"]), (&json!(1_000_002), &json!(999)));
    assert_eq!(first.ids("entities")[..2], ids);
    let last = caller.get("/tasks?limit=999&offset=1000000");
    assert_eq!((&last.body["size"], &last.body["entities"][1]["status"]), (&json!(2), &json!(0)));
    let beyond = caller.get("/tasks?limit=999&offset=1000002");
    assert_eq!((&beyond.body["size"], &beyond.body["total"]), (&json!(0), &json!(1_000_002)));
    assert_eq!(caller.get("/tasks?status=1").body["total"], 2, "filters find the real ones only");
    let mut all = first.ids("entities");
    all.extend(caller.get("/tasks?limit=999&offset=999").ids("entities"));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1_998, "every ID is another");
    assert_eq!(
        (caller.instance.tasks().len(), caller.instance.list_calls()[0].listed.len()),
        (2, 2),
        "nothing is kept"
    );
}

#[test]
fn a_list_may_have_many_slow_pages() {
    let caller = Caller::new();
    caller.instance.create_tasks(24);
    caller.instance.set_policies(|policies| policies.page_cap = 1);
    lists(&caller, Effect::Delay { before_ms: 0, after_ms: 30_000 });
    for offset in 0..24 {
        let reply = caller.reply("GET", &Caller::path(&format!("/tasks?limit=999&offset={offset}")), "");
        let page: Value = serde_json::from_slice(reply.response.body()).unwrap();
        assert_eq!((reply.delay_ms, &page["size"], &page["total"]), (30_000, &json!(1), &json!(24)));
        caller.sim.clock().advance(Duration::from_millis(reply.delay_ms));
    }
}
