//! `ListMonitorInfos`, `ListMonitorLog` and `ShowMonitorLogDetail`.

use std::time::Duration;

use fdi_simulator::{
    LastRun, Manner, MonitorFields, MonitorOffset, MonitorOrder, Monitoring, NewTasks, Operation, SignInErrors,
    TaskType,
};
use serde_json::{Value, json};

use crate::caller::{Caller, INSTANCE, NOW};

/// A task that is on, `a`, with runs that ended one, two and three seconds after its creation.
fn with_three_runs() -> Caller {
    let caller = Caller::new();
    caller.instance.create(&NewTasks { ids: vec!["a".into()], running: true, ..NewTasks::default() });
    for (how, code) in [(LastRun::Success, None), (LastRun::Error, Some(503)), (LastRun::Error, Some(103))] {
        caller.sim.clock().advance(Duration::from_secs(1));
        caller.instance.record_run("a", how, code).unwrap();
    }
    caller
}

fn codes(caller: &Caller, query: &str) -> Vec<u64> {
    let answer = caller.get(&format!("/tasks/a/monitor-logs{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body["entities"].as_array().unwrap().iter().map(|run| run["status"].as_u64().unwrap()).collect()
}

#[test]
fn a_failed_run_is_logged_with_its_cause_position_and_steps() {
    let caller = with_three_runs();
    let answer = caller.get("/tasks/a/monitor-logs?offset=1&limit=1");
    let run = &answer.body["entities"][0];
    assert_eq!((&answer.body["total"], &answer.body["size"]), (&json!(3), &json!(1)));
    let step = |field: &str| run["detail_logs"][0][field].clone();
    assert_eq!(
        run,
        &json!({
            "id": run["id"], "start_time": NOW + 3_000, "dispatch_time": NOW + 3_000, "end_time": NOW + 3_000,
            "execute_status": "ERROR", "position": "READER", "position_status": "RUNTIME_ERR", "status": 103,
            "dirty_data_count": 0, "data_count": 0, "data_size": 0.0, "data_size_unit": "KB", "spend_time": 0,
            "read_spend_time": 0, "write_spend_time": 0, "remarks": "The source is faulty.",
            "detail_logs": [{
                "id": step("id"), "status": 103, "position": "READER", "position_status": "RUNTIME_ERR",
                "stage": "rdbreader", "dirty_data_count": 0, "data_count": 0, "data_size": 0.0,
                "data_size_unit": "KB", "spend_time": 0, "remarks": "The source is faulty.",
                "step_begin_time": NOW + 3_000, "step_end_time": NOW + 3_000,
            }],
        })
    );
    let of_the_writer = &caller.get("/tasks/a/monitor-logs?offset=2&limit=1").body["entities"][0];
    let steps = of_the_writer["detail_logs"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (step["position"].clone(), step["status"].clone())).collect();
    assert_eq!(steps, [(json!("READER"), json!(101)), (json!("WRITER"), json!(503))]);
}

#[test]
fn each_cause_has_its_position() {
    let caller = Caller::new();
    caller.instance.create(&NewTasks { ids: vec!["a".into()], ..NewTasks::default() });
    for (code, position, status) in [
        (103, "READER", "RUNTIME_ERR"),
        (503, "WRITER", "RUNTIME_ERR"),
        (907, "ADAPTER", "RUNTIME_ERR"),
        (909, "ADAPTER", "RUNTIME_ERR"),
        (914, "ADAPTER", "INTERNAL_ERR"),
    ] {
        caller.instance.record_run("a", LastRun::Error, Some(code)).unwrap();
        let run = &caller.get("/tasks/a/monitor-logs?limit=1").body["entities"][0];
        assert_eq!(
            (&run["status"], &run["position"], &run["position_status"]),
            (&json!(code), &json!(position), &json!(status))
        );
        assert_ne!(run["remarks"], "", "{code}");
    }
}

#[test]
fn failing_runs_show_alike_in_list_infos_and_log_until_they_recover() {
    let caller = Caller::new();
    let ids = caller.instance.create(&NewTasks { count: 25, running: true, ..NewTasks::default() });
    for id in &ids[..3] {
        caller.instance.fail_runs(id, 503, Some(Duration::from_secs(60))).unwrap();
    }
    let failed = |path: &str| caller.get(&format!("{path}?limit=50&execute_status=ERROR")).ids("entities");
    for minute in 1..=3 {
        assert_eq!((failed("/tasks"), failed("/task-monitors")), (ids[..3].to_vec(), ids[..3].to_vec()));
        let log = caller.get(&format!("/tasks/{}/monitor-logs", ids[0])).body;
        assert_eq!((&log["total"], &log["entities"][0]["status"]), (&json!(minute), &json!(503)));
        caller.sim.clock().advance(Duration::from_secs(60));
    }
    for id in &ids[..3] {
        caller.instance.recover_runs(id).unwrap();
    }
    caller.sim.clock().advance(Duration::from_secs(600));
    assert_eq!((failed("/tasks").len(), failed("/task-monitors").len()), (0, 0));
    let newest = caller.get(&format!("/tasks/{}/monitor-logs", ids[0])).body["entities"][0].clone();
    assert_eq!((&newest["execute_status"], &newest["status"]), (&json!("SUCCESS"), &json!(901)));
}

#[test]
fn a_task_may_fail_so_many_runs_and_then_succeed() {
    let caller = Caller::new();
    let fails = Manner::FailsRuns { code: 103, every_ms: None, times: Some(2) };
    let new = NewTasks { task_type: TaskType::Realtime, manners: vec![fails], ..NewTasks::default() };
    let ids = caller.instance.create(&new);
    let states: Vec<_> = (0..3)
        .map(|_| {
            caller.batch("start", &ids);
            let state = caller.get("/tasks").body["entities"][0]["execute_status"].clone();
            caller.batch("stop", &ids);
            state
        })
        .collect();
    assert_eq!(states, ["ERROR", "ERROR", "RUNNING"]);
}

#[test]
fn a_log_is_filtered_by_time_and_its_pages_hold_at_most_999_runs() {
    let caller = with_three_runs();
    let at = |seconds: i64| NOW + seconds * 1_000;
    assert_eq!(codes(&caller, ""), [103, 503, 901]);
    assert_eq!(codes(&caller, &format!("?begin_time={}", at(2))), [103, 503]);
    assert_eq!(codes(&caller, &format!("?begin_time={}&end_time={}", at(2), at(2))), [503]);
    for _ in 0..1_000 {
        caller.instance.record_run("a", LastRun::Success, None).unwrap();
    }
    assert_eq!((codes(&caller, "").len(), codes(&caller, "?limit=5000").len()), (10, 999));
}

#[test]
fn what_an_offset_counts_and_the_order_of_a_log_are_policies() {
    let caller = with_three_runs();
    assert_eq!(codes(&caller, "?offset=2&limit=2"), [503, 901]);
    caller.instance.set_policies(|policies| policies.monitor_offset = MonitorOffset::Page);
    assert_eq!(codes(&caller, "?offset=2&limit=2"), [901]);
    caller.instance.set_policies(|policies| policies.monitor_order = MonitorOrder::OldestFirst);
    assert_eq!(codes(&caller, "?offset=1&limit=2"), [901, 503]);
}

#[test]
fn an_offset_of_0_and_other_values_out_of_bounds_are_fdi_3033() {
    let caller = with_three_runs();
    for (query, name) in [("offset=0", "offset"), ("limit=-1", "limit"), ("begin_time=x", "begin_time")] {
        let message = format!("Invalid parameter [{name}].");
        caller.get(&format!("/tasks/a/monitor-logs?{query}")).is_error(400, "FDI.3033", &message);
    }
    let message = "Invalid parameter [execute_status].";
    caller.get("/task-monitors?execute_status=error").is_error(400, "FDI.3033", message);
    caller.get("/tasks/x/monitor-logs").is_error(404, "FDI.3081", "The task does not exist.");
}

#[test]
fn monitor_infos_have_a_schedule_for_scheduled_tasks_only() {
    let caller = Caller::new();
    let orders = NewTasks { ids: vec!["a".into()], names: vec!["orders".into()], running: true, ..NewTasks::default() };
    caller.instance.create(&orders);
    let stream = NewTasks { ids: vec!["b".into()], task_type: TaskType::Realtime, ..NewTasks::default() };
    caller.instance.create(&stream);
    caller.instance.fail_runs("a", 103, None).unwrap();
    let answer = caller.get("/task-monitors?task_name=ord");
    assert_eq!(
        answer.body,
        json!({"total": 1, "size": 1, "entities": [{
            "task_id": "a", "task_name": "orders", "task_type": "TIMING", "status": 1, "last_execute_time": NOW,
            "use_quartz_cron": false, "period": "HOUR", "dispatch_interval": 1, "position": "READER",
            "execute_status": "ERROR", "source_app_id": "app-1", "source_app_name": "app-1",
            "source_instance_id": INSTANCE, "target_app_id": "app-2", "target_app_name": "app-2",
            "target_instance_id": INSTANCE, "ext_type": null, "enterprise_project_id": "0", "task_tag": null,
        }]})
    );
    let both = caller.get("/task-monitors").body["entities"].clone();
    assert_eq!((both[1].get("period"), &both[1]["last_execute_time"]), (None, &Value::Null));
}

#[test]
fn one_run_is_shown_by_its_tracking_id() {
    let caller = with_three_runs();
    let newest = caller.get("/tasks/a/monitor-logs").body["entities"][0].clone();
    let answer = caller.get(&format!("/tasks/a/monitor-logs/{}", newest["id"].as_str().unwrap()));
    let wanted = json!({"id": newest["id"], "dirty_data_count": 0, "detail_logs": newest["detail_logs"]});
    assert_eq!((answer.status, answer.body), (200, wanted));
    let message = "Invalid parameter [tracking_id].";
    caller.get("/tasks/a/monitor-logs/unknown").is_error(400, "FDI.3033", message);
}

#[test]
fn fields_may_be_spelled_in_camel_case() {
    let caller = with_three_runs();
    caller.instance.set_policies(|policies| policies.monitor_fields = MonitorFields::CamelCase);
    let run = caller.get("/tasks/a/monitor-logs?limit=1").body["entities"][0].clone();
    assert_eq!(
        (&run["executeStatus"], &run["detailLogs"][0]["positionStatus"]),
        (&json!("ERROR"), &json!("RUNTIME_ERR"))
    );
    assert_eq!(run.get("execute_status"), None);
    assert_eq!(caller.get("/task-monitors").body["entities"][0]["taskId"], "a");
}

#[test]
fn the_monitor_calls_may_be_forbidden_or_missing_while_lists_work() {
    let caller = with_three_runs();
    let id = caller.instance.runs("a").unwrap().len();
    let paths =
        ["/task-monitors".to_owned(), "/tasks/a/monitor-logs".to_owned(), format!("/tasks/a/monitor-logs/{id}")];
    let answers = || {
        let answers = paths.iter().map(|path| caller.get(path));
        answers.map(|answer| (answer.status, answer.body["error_code"].clone())).collect::<Vec<_>>()
    };
    caller.instance.set_policies(|policies| policies.monitoring = Monitoring::Forbidden);
    assert_eq!(answers(), vec![(403, json!("APIGW.0302")); 3]);
    caller.instance.set_policies(|policies| policies.sign_in_errors = SignInErrors::Roma);
    assert_eq!(answers(), vec![(400, json!("ROMA.1006")); 3]);
    caller.instance.set_policies(|policies| policies.monitoring = Monitoring::Missing);
    assert_eq!(answers(), vec![(404, json!("APIGW.0101")); 3]);
    assert_eq!((caller.get("/tasks").status, caller.get("/tasks/a").status), (200, 200));
}

#[test]
fn every_call_is_logged_as_an_operation_of_its_own_with_the_task_it_names() {
    let caller = with_three_runs();
    for path in ["/task-monitors", "/tasks/a/monitor-logs", "/tasks/a/monitor-logs/x", "/statistics/tasks"] {
        caller.get(path);
    }
    caller.post("/tasks/a/run");
    caller.post("/tasks/a/terminate");
    let calls = caller.instance.calls();
    let logged: Vec<_> = calls.iter().map(|call| (call.operation, call.ids.len())).collect();
    assert_eq!(
        logged,
        [
            (Operation::MonitorInfos, 0),
            (Operation::MonitorLogs, 1),
            (Operation::MonitorLogDetail, 1),
            (Operation::Count, 0),
            (Operation::Run, 1),
            (Operation::Terminate, 1),
        ]
    );
    assert_eq!(caller.sim.counts(&fdi_simulator::Filter::default()).requests[&Operation::MonitorLogs], 1);
}
