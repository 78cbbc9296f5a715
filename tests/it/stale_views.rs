//! An operator that sees the API server's objects late, twice, in another order or as they once
//! were, and whose writes are refused for a while. What it has not seen it cannot carry out; but it
//! must not report it as done, and must not call for what was true once.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::broken_watches::Fixture;
use crate::harness::fake_api::{GROUPS, INSTANCES};
use crate::harness::{PROJECT, faults};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_watch_of_groups_stands_still_no_status_claims_the_edit_it_hides() {
    let fixture = Fixture::running(2, &[]).await;
    fixture.api().silence(GROUPS);
    fixture.stop(1);
    // The other kind goes on, and a reconcile with it.
    fixture.api().put(INSTANCES, "roma", json!({"spec": {"pollIntervalSeconds": 1800}}));
    let reconciled = || fixture.api().observed_generation(INSTANCES, "roma") == Some(2);
    fixture.wait_until("the instance reconciled", reconciled).await;
    assert_eq!(fixture.calls_for(1), 1, "nobody has seen the edit");
    assert_eq!(fixture.api().observed_generation(GROUPS, "g01"), Some(1));
    fixture.api().resume(GROUPS);
    let took = fixture.wait_stopped(1).await;
    faults::record(
        "the watch of groups stands still while that of instances goes on",
        "reported nothing of the edit, and carried it out once the watch went on",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_reverted_before_it_is_seen_causes_no_call() {
    let fixture = Fixture::running(2, &[]).await;
    fixture.api().silence(GROUPS);
    fixture.stop(1);
    fixture.api().group("g01", "Running", &fixture.ids[1..]);
    fixture.api().resume(GROUPS);
    let newest = || fixture.api().is_ready("g01") && fixture.api().observed_generation(GROUPS, "g01") == Some(3);
    fixture.wait_until("the newest generation Ready", newest).await;
    // Whatever was planned for g01 would have been sent before this.
    fixture.stop(0);
    fixture.wait_stopped(0).await;
    assert!(fixture.service.running().contains(&fixture.ids[1]));
    // Events come one by one, so a stop may have been planned in between; then a start took it
    // back.
    assert!(fixture.calls_for(1) == 1 || fixture.calls_for(1) == 3, "{} calls", fixture.calls_for(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_seen_before_its_instance_is_not_reported_as_an_error() {
    let fixture = Fixture::running(1, &[]).await;
    let other = "2e95a4a7-1111-2222-3333-444455556666";
    let ids = fixture.sim.instance(PROJECT, other).create_tasks(1);
    fixture.api().silence(INSTANCES);
    let auth = json!({"token": {"secretRef": {"name": "roma-credentials"}}});
    let spec = json!({"endpoint": fixture.sim.url(), "projectId": PROJECT, "instanceId": other, "auth": auth});
    fixture.api().put(INSTANCES, "late", json!({ "spec": spec }));
    let spec = json!({"instanceRef": {"name": "late"}, "desiredState": "Running", "taskIds": ids});
    fixture.api().put(GROUPS, "early", json!({ "spec": spec }));
    // An edit of another group is seen after it.
    fixture.stop(0);
    fixture.wait_stopped(0).await;
    fixture.api().resume(INSTANCES);
    fixture.wait_until("Ready", || fixture.api().is_ready("early")).await;
    assert!(!fixture.api().ever_contained(GROUPS, "InstanceNotFound"), "an alarm for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_arrive_twice_cause_no_second_call_and_no_second_write() {
    let fixture = Fixture::running(2, &[]).await;
    let writes = fixture.api().write_count("g01");
    fixture.api().repeat_events();
    fixture.stop(1);
    fixture.wait_stopped(1).await;
    fixture.stop(0);
    fixture.wait_stopped(0).await;
    assert_eq!((fixture.calls_for(0), fixture.calls_for(1)), (2, 2));
    let writes = fixture.api().write_count("g01") - writes;
    assert!(writes <= 2, "{writes} writes for one edit");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_from_the_past_is_not_believed() {
    let fixture = Fixture::running(2, &[]).await;
    fixture.stop(1);
    fixture.wait_stopped(1).await;
    // As it once was: g01 is to run.
    fixture.api().replay_first(GROUPS, "g01");
    fixture.stop(0);
    let took = fixture.wait_stopped(0).await;
    fixture.wait_until("g01 Ready", || fixture.api().is_ready("g01")).await;
    assert_eq!(fixture.calls_for(1), 2, "called for what was true once");
    faults::record(
        "a watch sends an object as it once was",
        "listed all objects again, called for nothing, and carried out the edit",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_is_answered_from_a_cache_that_may_be_behind() {
    let fixture = Fixture::running(2, &[]).await;
    fixture.api().compact(false);
    fixture.api().end(GROUPS);
    fixture.stop(1);
    fixture.wait_stopped(1).await;
    assert_eq!(fixture.api().stale_list_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_writes_that_are_refused_for_a_while_cost_few_requests_and_no_call() {
    let answers = [
        (409, "Conflict"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ];
    join_all(answers.map(|(code, reason)| async move {
        let fixture = Fixture::running(2, &[]).await;
        let before = fixture.api().write_count("g01");
        fixture.api().refuse_writes(Some((code, reason)));
        fixture.stop(1);
        let attempts = || fixture.api().write_count("g01") - before;
        fixture.wait_until("three attempts", || attempts() >= 3).await;
        assert_eq!(attempts(), 3, "{code}: attempts a second or more apart");
        assert!(!fixture.service.running().contains(&fixture.ids[1]), "{code}: the edit is carried out");
        assert_eq!(fixture.api().observed_generation(GROUPS, "g01"), Some(1), "{code}");
        fixture.api().refuse_writes(None);
        let took = fixture.wait_stopped(1).await;
        assert!(took < Duration::from_secs(6), "{code}: written after {took:?}");
        assert_eq!(fixture.calls_for(1), 2, "{code}: called again because the report failed");
        faults::record(
            &format!("the API server answers status writes with {code} for a while"),
            "carried out the edit meanwhile, and reported it with the next attempt",
            took,
        );
    }))
    .await;
}
