//! `ListTasks` and `ShowTask`: forms, filters, order, paging.

use fdi_simulator::{LastRun, NameFilter, NewTasks, TaskMode, TaskType};
use proptest::prelude::*;
use serde_json::json;

use crate::caller::{Caller, INSTANCE, NOW, PROJECT};

#[test]
fn a_list_entry_has_a_numeric_status_an_upper_case_type_and_a_text_date() {
    let caller = Caller::new();
    let ids = caller.instance.create(&NewTasks { running: true, ..NewTasks::default() });
    let answer = caller.get("/tasks?limit=10&offset=0");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({"total": 1, "size": 1, "entities": [{
            "task_id": ids[0], "task_name": "task-1", "task_type": "TIMING", "status": 1,
            "created_date": "2026-01-02T03:04:05.000Z", "version": "1.0", "last_modified_time": NOW,
            "execute_status": "UNSTARTED", "source_app_id": "app-1", "target_app_id": "app-2",
            "source_instance_id": INSTANCE, "target_instance_id": INSTANCE, "ext_type": null,
            "enterprise_project_id": "0", "task_tag": null,
        }]})
    );
}

#[test]
fn show_has_a_string_for_status_lower_case_type_and_numbers_for_dates() {
    let caller = Caller::new();
    let new = NewTasks { running: true, task_type: TaskType::Realtime, ..NewTasks::default() };
    let id = caller.instance.create(&new).remove(0);
    let task = caller.get(&format!("/tasks/{id}")).body["task"].clone();
    assert_eq!((&task["status"], &task["task_type"]), (&json!("running"), &json!("realtime")));
    assert_eq!((&task["created_date"], &task["last_modified_date"]), (&json!(NOW), &json!(NOW)));
    assert_eq!((&task["project_id"], task.get("execute_status")), (&json!(PROJECT), None));
    caller.instance.set_running(&id, false).unwrap();
    assert_eq!(caller.get(&format!("/tasks/{id}")).body["task"]["status"], "stop");
    caller.get("/tasks/unknown").is_error(404, "FDI.3081", "The task does not exist.");
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let caller = Caller::new();
    let ids = [caller.get("/tasks").request_id, caller.get("/tasks/x").request_id, caller.get("/nowhere").request_id];
    assert!(ids.iter().all(|id| id.len() == 32) && ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn each_filter_finds_its_tasks_and_no_others() {
    let caller = Caller::new();
    let base = NewTasks::default();
    caller.instance.create(&base);
    let special = NewTasks {
        ids: vec!["special".into()],
        prefix: "orders a+b é".into(),
        running: true,
        last_run: LastRun::Error,
        task_type: TaskType::Realtime,
        mode: TaskMode::Cdc,
        source_datasource_id: "s9".into(),
        target_datasource_id: "t9".into(),
        source_app_id: "a9".into(),
        target_app_id: "b9".into(),
        task_tag: Some("tag9".into()),
        ..base
    };
    caller.instance.create(&special);
    for filter in [
        "task_id=special",
        "task_name=orders",
        "name=a%2Bb%20%C3%A9",
        "taks_name=s+a%2B",
        "status=1",
        "task_type=realtime",
        "task_mode=CDC",
        "execute_status=ERROR",
        "source_datasource_id=s9",
        "target_datasource_id=t9",
        "datasource_id=s9",
        "datasource_id=t9",
        "source_app_id=a9",
        "target_app_id=b9",
        "task_tag=tag9",
        "status=1&task_type=realtime&datasource_id=t9",
    ] {
        let answer = caller.get(&format!("/tasks?{filter}"));
        assert_eq!(
            (answer.ids("entities"), &answer.body["total"]),
            (vec!["special".to_owned()], &json!(1)),
            "{filter}"
        );
    }
    for none in ["task_id=speci", "status=1&task_type=timing", "name=ORDERS", "datasource_id=s"] {
        assert_eq!(caller.get(&format!("/tasks?{none}")).body["total"], 0, "{none}");
    }
    assert_eq!(caller.get("/tasks?something_else=1").body["total"], 2, "unknown parameters are ignored");
    assert_eq!(caller.get("/tasks?task_id=special").body["entities"][0]["ext_type"], "CDC");
}

#[test]
fn a_value_outside_its_enumeration_is_fdi_3033_and_names_the_parameter() {
    let caller = Caller::new();
    for (query, name) in [
        ("status=running", "status"),
        ("status=2", "status"),
        ("task_type=TIMING", "task_type"),
        ("execute_status=error", "execute_status"),
        ("task_mode=cdc", "task_mode"),
        ("sort_field=NAME", "sort_field"),
        ("sort_type=up", "sort_type"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("offset=x", "offset"),
    ] {
        let message = format!("Invalid parameter [{name}].");
        caller.get(&format!("/tasks?{query}")).is_error(400, "FDI.3033", &message);
    }
}

#[test]
fn which_spelling_of_the_name_filter_works_is_a_policy() {
    let caller = Caller::new();
    caller.instance.create_tasks(1);
    for (policy, works) in
        [(NameFilter::TaskName, "task_name"), (NameFilter::Name, "name"), (NameFilter::TaksName, "taks_name")]
    {
        caller.instance.set_policies(|policies| policies.name_filter = policy);
        for spelling in ["task_name", "name", "taks_name"] {
            let found = i32::from(spelling != works);
            assert_eq!(caller.get(&format!("/tasks?{spelling}=absent")).body["total"], found, "{policy:?} {spelling}");
        }
    }
}

#[test]
fn a_page_has_at_most_999_entries_and_a_negative_offset_counts_as_none() {
    let caller = Caller::new();
    caller.instance.create_tasks(1_000);
    for query in ["limit=999", "limit=1000", "limit=5000", "limit=999&offset=-5"] {
        let answer = caller.get(&format!("/tasks?{query}"));
        assert_eq!((&answer.body["size"], &answer.body["total"]), (&json!(999), &json!(1_000)), "{query}");
    }
    assert_eq!(caller.get("/tasks?limit=999&offset=999").body["size"], 1);
    let beyond = caller.get("/tasks?limit=999&offset=1000");
    assert_eq!((beyond.status, beyond.body), (200, json!({"total": 1_000, "size": 0, "entities": []})));
    assert_eq!(caller.get("/tasks").body["size"], 10, "the default page");
}

#[test]
fn lists_are_sorted_by_date_or_status_in_either_direction() {
    let caller = Caller::new();
    let mut ids = Vec::new();
    for running in [true, false, true] {
        ids.extend(caller.instance.create(&NewTasks { running, ..NewTasks::default() }));
        caller.sim.clock().advance(std::time::Duration::from_secs(1));
    }
    let order = |query: &str| {
        let found = caller.get(&format!("/tasks?{query}")).ids("entities");
        found.iter().map(|id| ids.iter().position(|known| known == id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(order("sort_field=CREATED_DATE&sort_type=ASC"), [0, 1, 2]);
    assert_eq!(order("sort_field=CREATED_DATE&sort_type=DESC"), [2, 1, 0]);
    assert_eq!(order("sort_field=STATUS&sort_type=ASC"), [1, 0, 2]);
    assert_eq!(order("sort_field=STATUS&sort_type=DESC"), [2, 0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the page size, filter and order: the pages together hold every match exactly once.
    #[test]
    fn the_pages_of_a_list_together_are_the_list(
        running in proptest::collection::vec(any::<bool>(), 0..40),
        limit in 1_usize..15,
        filter in prop_oneof![Just(""), Just("&status=1"), Just("&status=0")],
        sort in prop_oneof![Just(""), Just("&sort_field=STATUS&sort_type=DESC"), Just("&sort_field=CREATED_DATE")],
    ) {
        let caller = Caller::new();
        for &running in &running {
            caller.instance.create(&NewTasks { running, ..NewTasks::default() });
        }
        let mut seen = Vec::new();
        loop {
            let page = caller.get(&format!("/tasks?limit={limit}&offset={}{filter}{sort}", seen.len()));
            let ids = page.ids("entities");
            prop_assert!(ids.len() <= limit);
            prop_assert_eq!(&page.body["size"], ids.len());
            if ids.is_empty() {
                prop_assert_eq!(&page.body["total"], seen.len());
                break;
            }
            seen.extend(ids);
        }
        let wanted = caller.instance.tasks().into_iter().filter(|task| match filter {
            "&status=1" => task.running,
            "&status=0" => !task.running,
            _ => true,
        });
        let mut wanted: Vec<String> = wanted.map(|task| task.id.to_string()).collect();
        wanted.sort();
        seen.sort();
        prop_assert_eq!(seen, wanted);
    }
}
