//! `BatchStartOrStopTasks`: the documented examples, and each policy where nothing is documented.

use fdi_simulator::{
    Action, AlreadyThere, ApplyBeforeError, DuplicateIds, Effect, ErrorShape, JudgedState, Manner, MissingPlan,
    NewTasks, NonArrayList, NonObjectItems, Operation, Refusal, TaskType, Trigger, UnknownId, UnknownInstance,
};
use serde_json::json;

use crate::caller::{Caller, PROJECT};

const NO_PLAN: &str = "One or more scheduled tasks are not configured with scheduled plans.";

#[test]
fn a_batch_answer_has_counts_and_empty_error_fields_for_successes() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    let refuses = Manner::Refuses { action: None, code: "FDI.3026".into(), message: "No.".into(), times: None };
    caller.instance.set_manners(&ids[1], [refuses]).unwrap();
    let answer = caller.batch("start", &ids);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({
            "success_count": 1, "failure_count": 1,
            "success": [{"task_id": ids[0], "task_name": "task-1", "error_code": "", "error_msg": ""}],
            "failure": [{"task_id": ids[1], "task_name": "task-2", "error_code": "FDI.3026", "error_msg": "No."}],
        })
    );
    assert_eq!(caller.instance.running(), [ids[0].clone()]);
}

#[test]
fn an_empty_absent_or_null_list_is_fdi_3150() {
    let caller = Caller::new();
    for body in [r#"{"action_id":"start","list":[]}"#, r#"{"action_id":"stop"}"#, r#"{"action_id":"stop","list":null}"#]
    {
        caller.raw_batch(body).is_error(400, "FDI.3150", "The task list is empty.");
    }
}

#[test]
fn a_body_that_cannot_be_read_is_fdi_3002_and_a_wrong_action_fdi_3033() {
    let caller = Caller::new();
    for body in ["", "{", "[]", r#"{"action_id":1,"list":[]}"#] {
        caller.raw_batch(body).is_error(400, "FDI.3002", "Invalid parameters.");
    }
    for body in [r#"{"list":[{"task_id":"a"}]}"#, r#"{"action_id":"START","list":[{"task_id":"a"}]}"#] {
        caller.raw_batch(body).is_error(400, "FDI.3033", "Invalid parameter [action_id].");
    }
}

#[test]
fn a_non_array_list_or_non_object_items_are_answered_as_the_policy_says() {
    let caller = Caller::new();
    let non_arrays = [r#"{"action_id":"start","list":{}}"#, r#"{"action_id":"start","list":"a"}"#];
    let non_objects = [r#"{"action_id":"start","list":["a"]}"#, r#"{"action_id":"start","list":[["a"], null]}"#];
    for body in non_arrays.iter().chain(&non_objects) {
        caller.raw_batch(body).is_error(400, "FDI.3002", "Invalid parameters.");
    }
    caller.instance.set_policies(|policies| {
        policies.non_array_list = NonArrayList::Fdi3150;
        policies.non_object_items = NonObjectItems::Fdi3022;
    });
    for body in non_arrays {
        caller.raw_batch(body).is_error(400, "FDI.3150", "The task list is empty.");
    }
    for body in non_objects {
        caller.raw_batch(body).is_error(400, "FDI.3022", "One or more tasks have empty task IDs.");
    }
}

#[test]
fn eleven_ids_are_refused_and_ten_are_not() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(11);
    caller.batch("start", &ids).is_error(400, "FDI.3002", "Invalid parameters.");
    assert!(caller.instance.running().is_empty());
    assert_eq!(caller.batch("start", &ids[..10]).body["success_count"], 10);
}

#[test]
fn an_empty_id_is_fdi_3022_and_one_of_65_characters_is_invalid() {
    let caller = Caller::new();
    let known = caller.instance.create_tasks(1).remove(0);
    for body in [
        format!(r#"{{"action_id":"start","list":[{{"task_id":"{known}"}},{{"task_id":""}}]}}"#),
        format!(r#"{{"action_id":"start","list":[{{"task_id":"{known}"}},{{}}]}}"#),
    ] {
        caller.raw_batch(&body).is_error(400, "FDI.3022", "One or more tasks have empty task IDs.");
    }
    caller.batch("start", &["a".repeat(65)]).is_error(400, "FDI.3033", "Invalid parameter [task_id].");
}

#[test]
fn a_task_without_schedule_plan_fails_the_whole_request_as_the_documented_example() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(3);
    caller.instance.set_manners(&ids[1], [Manner::NoSchedulePlan]).unwrap();
    caller.batch("start", &ids).is_error(404, "FDI.3083", NO_PLAN);
    assert!(caller.instance.running().is_empty());
    let call = caller.instance.batch_calls().remove(0);
    assert_eq!((call.error_code.as_deref(), call.applied.len(), call.told.len()), (Some("FDI.3083"), 0, 0));
}

#[test]
fn a_missing_plan_can_be_a_failure_item() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    caller.instance.set_manners(&ids[0], [Manner::NoSchedulePlan]).unwrap();
    caller.instance.set_policies(|policies| policies.missing_plan = MissingPlan::FailureItem);
    let answer = caller.batch("start", &ids);
    assert_eq!((answer.ids("failure"), answer.ids("success")), (vec![ids[0].clone()], vec![ids[1].clone()]));
    assert_eq!(answer.body["failure"][0]["error_msg"], NO_PLAN);
    let call = caller.instance.batch_calls().remove(0);
    assert_eq!(call.told[0].error_code.as_deref(), Some("FDI.3083"));
    assert_eq!(call.applied, [ids[1].as_str().into()]);
}

#[test]
fn an_unknown_id_is_answered_as_the_policy_says() {
    let caller = Caller::new();
    let known = caller.instance.create_tasks(1).remove(0);
    let ids = [known.as_str(), "unknown"];
    caller.batch("start", &ids).is_error(400, "FDI.3021", "One or more tasks do not exist.");
    caller.instance.set_policies(|policies| policies.unknown_id = UnknownId::Whole404);
    caller.batch("start", &ids).is_error(404, "FDI.3081", "The task does not exist.");
    assert!(caller.instance.running().is_empty());
    caller.instance.set_policies(|policies| policies.unknown_id = UnknownId::FailureItem);
    let answer = caller.batch("start", &ids);
    assert_eq!((answer.ids("success"), answer.ids("failure")), (vec![known.clone()], vec!["unknown".to_owned()]));
    assert_eq!(answer.body["failure"][0]["error_code"], "FDI.3081");
    assert_eq!(caller.instance.running(), [known]);
}

#[test]
fn what_a_refused_batch_has_done_before_is_a_policy() {
    for (policy, done) in [
        (ApplyBeforeError::None, vec![]),
        (ApplyBeforeError::Prefix, vec![0]),
        (ApplyBeforeError::AllButRefused, vec![0, 2]),
    ] {
        let caller = Caller::new();
        let ids = caller.instance.create_tasks(4);
        let poison =
            Manner::Poison { action: None, status: 400, code: "FDI.3026".into(), message: "P".into(), times: None };
        caller.instance.set_manners(&ids[1], [poison.clone()]).unwrap();
        caller.instance.set_manners(&ids[3], [poison]).unwrap();
        caller.instance.set_policies(|policies| policies.apply_before_error = policy);
        caller.batch("start", &ids).is_error(400, "FDI.3026", "P");
        let expected: Vec<String> = done.into_iter().map(|at: usize| ids[at].clone()).collect();
        assert_eq!(caller.instance.running(), expected, "{policy:?}");
        let call = caller.instance.batch_calls().remove(0);
        assert_eq!(call.applied.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_poison_may_be_for_one_action_and_for_so_many_times() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    let (action, code) = (Some(Action::Start), "FDI.9999".to_owned());
    let poison = Manner::Poison { action, status: 500, code, message: "Network error.".into(), times: Some(1) };
    caller.instance.set_manners(&ids[0], [poison]).unwrap();
    assert_eq!(caller.batch("stop", &ids).status, 200);
    caller.batch("start", &ids).is_error(500, "FDI.9999", "Network error.");
    assert_eq!(caller.batch("start", &ids).status, 200);
}

#[test]
fn a_poison_may_have_any_status_and_code_also_a_number_or_a_page_of_html() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(3);
    for (status, code, sent) in [
        (500, "FDI.9999", json!("FDI.9999")),
        (400, "ROMA.13000", json!("ROMA.13000")),
        (400, "UNKNOWN.1", json!("UNKNOWN.1")),
        (400, "13000", json!(13_000)),
    ] {
        let poison = Manner::Poison { action: None, status, code: code.into(), message: "m".into(), times: None };
        caller.instance.set_manners(&ids[1], [poison]).unwrap();
        let answer = caller.batch("start", &ids);
        assert_eq!((answer.status, answer.body), (status, json!({"error_code": sent, "error_msg": "m"})));
        assert_eq!(caller.batch("start", &ids[2..]).status, 200, "a batch without it works");
    }
    caller.instance.set_manners(&ids[1], []).unwrap();
    caller.instance.fault(Trigger::on(Operation::Batch).task(&ids[1]), Effect::html(500));
    assert_eq!((caller.batch("start", &ids).status, caller.batch("stop", &ids[2..]).status), (500, 200));
}

#[test]
fn a_command_for_a_task_already_in_that_state_is_answered_as_the_policy_says() {
    let caller = Caller::new();
    let timing = caller.instance.create_tasks(1);
    let realtime = caller.instance.create(&NewTasks { task_type: TaskType::Realtime, ..NewTasks::default() });
    let running = caller.instance.create(&NewTasks { running: true, ..NewTasks::default() });
    assert_eq!(caller.batch("start", &running).body["success_count"], 1);
    assert_eq!(caller.batch("stop", &timing).body["success_count"], 1);
    assert!(caller.instance.batch_calls().iter().all(|call| call.applied.is_empty()), "no command was needed");
    caller.instance.set_policies(|policies| {
        policies.start_running = AlreadyThere::FailureItem;
        policies.stop_stopped = AlreadyThere::FailureItem;
    });
    assert_eq!(caller.batch("start", &running).body["failure"][0]["error_code"], "FDI.3023");
    assert_eq!(caller.batch("stop", &timing).body["failure"][0]["error_code"], "FDI.3020");
    assert_eq!(caller.batch("stop", &realtime).body["failure"][0]["error_code"], "FDI.3019");
    caller.instance.set_policies(|policies| {
        policies.start_running = AlreadyThere::WholeRequest;
        policies.stop_stopped = AlreadyThere::WholeRequest;
    });
    caller.batch("start", &running).is_error(400, "FDI.3023", "One or more tasks are running.");
    caller.batch("stop", &timing).is_error(400, "FDI.3020", "Failed to stop the scheduled task.");
    caller.batch("stop", &realtime).is_error(400, "FDI.3019", "Failed to stop the real-time task.");
}

#[test]
fn an_id_named_twice_is_refused_or_handled_at_each_mention() {
    let caller = Caller::new();
    let id = caller.instance.create_tasks(1).remove(0);
    caller.batch("start", &[&id, &id]).is_error(400, "FDI.3002", "Invalid parameters.");
    caller.instance.set_policies(|policies| policies.duplicate_ids = DuplicateIds::EachMention);
    assert_eq!(caller.batch("start", &[&id, &id]).body["success_count"], 2);
}

#[test]
fn errors_come_flat_wrapped_or_with_a_number_for_a_code() {
    let caller = Caller::new();
    caller.instance.set_policies(|policies| policies.error_shape = ErrorShape::Wrapped);
    let answer = caller.batch::<&str>("start", &[]);
    let reason = json!({"error_code": "FDI.3150", "error_msg": "The task list is empty."});
    assert_eq!((answer.status, answer.body), (400, json!({"code": 400, "reason": reason})));
    caller.instance.set_policies(|policies| policies.error_shape = ErrorShape::Numeric);
    let answer = caller.batch::<&str>("start", &[]);
    assert_eq!(answer.body, json!({"error_code": 400, "error_msg": "The task list is empty."}));
}

#[test]
fn a_frozen_instance_refuses_any_batch_and_still_lists() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.instance.refuse_batches(Some(Refusal::fdi(400, "FDI.3099", "The instance is frozen.")));
    caller.batch("start", &ids).is_error(400, "FDI.3099", "The instance is frozen.");
    assert_eq!(caller.get("/tasks").status, 200);
    caller.instance.refuse_batches(None);
    assert_eq!(caller.batch("start", &ids).status, 200);
}

#[test]
fn an_unknown_instance_is_answered_as_the_policy_says() {
    let caller = Caller::new();
    let path = format!("/v2/{PROJECT}/fdi/instances/elsewhere/tasks");
    caller.send("GET", &path, "").is_error(400, "FDI.3002", "Invalid parameters.");
    for (policy, status) in [(UnknownInstance::Roma00110002, 500), (UnknownInstance::Roma00110002NotFound, 404)] {
        caller.sim.set_policies(|policies| policies.unknown_instance = policy);
        let answer = caller.send("GET", &path, "");
        let message = format!("The instance does not exist. project_id: {PROJECT}, instance_id: elsewhere");
        let body = json!({"error_code": "ROMA.00110002", "error_msg": message, "request_id": answer.request_id});
        assert_eq!((answer.status, answer.body), (status, body));
    }
}

#[test]
fn two_instances_keep_their_tasks_apart() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    let other = caller.sim.instance(PROJECT, "other");
    let path = format!("/v2/{PROJECT}/fdi/instances/other/batch-operation/tasks");
    let body = json!({"action_id": "start", "list": [{"task_id": ids[0]}]}).to_string();
    caller.send("POST", &path, &body).is_error(400, "FDI.3021", "One or more tasks do not exist.");
    assert_ne!(other.create_tasks(1), ids);
    assert!(caller.instance.running().is_empty());
}

#[test]
fn the_state_changes_when_the_policy_or_the_tasks_own_manner_says() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(2);
    caller.instance.set_policies(|policies| policies.settle_ms = 2_000);
    caller.instance.set_manners(&ids[1], [Manner::SettlesAfter { ms: 5_000 }]).unwrap();
    assert_eq!(caller.batch("start", &ids).body["success_count"], 2);
    for (seconds, running) in [(0, 0), (2, 1), (2, 1), (1, 2)] {
        caller.sim.clock().advance(std::time::Duration::from_secs(seconds));
        assert_eq!(caller.get("/tasks?status=1").body["total"], running);
    }
}

#[test]
fn a_contrary_command_before_settling_takes_the_first_one_back() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.instance.set_policies(|policies| policies.settle_ms = 2_000);
    caller.batch("start", &ids);
    caller.batch("stop", &ids);
    caller.sim.clock().advance(std::time::Duration::from_mins(1));
    assert!(caller.instance.running().is_empty());
}

#[test]
fn a_stop_may_find_nothing_to_do_while_a_slow_start_is_yet_to_act() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.instance.set_manners(&ids[0], [Manner::SettlesAfter { ms: 45_000 }]).unwrap();
    caller.instance.set_policies(|policies| policies.judged_state = JudgedState::Shown);
    caller.batch("start", &ids);
    caller.sim.clock().advance(std::time::Duration::from_secs(2));
    assert_eq!(caller.batch("stop", &ids).body["success_count"], 1, "it is not running yet");
    caller.sim.clock().advance(std::time::Duration::from_secs(43));
    assert_eq!(caller.instance.running(), ids);
    let applied: Vec<usize> = caller.instance.batch_calls().iter().map(|call| call.applied.len()).collect();
    assert_eq!(applied, [1, 0]);
}
