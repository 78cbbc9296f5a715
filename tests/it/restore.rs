//! An administrator restores the data of the API server from a backup: its versions go back, and
//! everything since is gone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::broken_watches::Fixture;
use crate::harness::{Cluster, Process, TestEnv, faults};

const ALONE: &str = "--leader-election=false";

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_edits_are_observed_and_groups_that_are_gone_are_forgotten() {
    let fixture = Fixture::running(2, &[]).await;
    let backup = fixture.api().backup();
    fixture.stop(0);
    fixture.wait_stopped(0).await;
    fixture.api().group("late", "Stopped", &fixture.ids[1..]);
    fixture.wait_until("three groups reported", || fixture.api().reported_groups() == Some(3)).await;
    for _ in 0..50 {
        fixture.api().put("fditaskgroups", "late", json!({"metadata": {"labels": {}}}));
    }
    fixture.api().restore(backup);
    // The restored spec says Running, and the status restored with it predates the stop.
    fixture.wait_until("started again", || fixture.service.running().contains(&fixture.ids[0])).await;
    fixture.wait_until("two groups reported", || fixture.api().reported_groups() == Some(2)).await;
    fixture.wait_until("Ready", || fixture.api().is_ready("g00")).await;
    fixture.stop(1);
    let took = fixture.wait_stopped(1).await;
    faults::record(
        "the API server is restored from a backup",
        "listed all objects again and carried out the edit",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_lost_in_a_restore_is_written_again() {
    let mut fixture = Fixture::without_operator(2).await;
    let backup = fixture.api().backup();
    fixture.start_operator(&[]);
    fixture.wait_all_ready().await;
    fixture.api().restore(backup);
    fixture.wait_until("Ready again", || fixture.api().is_ready("g00") && fixture.api().is_ready("g01")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_a_real_etcd_is_noticed() {
    let cluster = Arc::new(Cluster::start().await);
    let (env, ids) = TestEnv::on(Arc::clone(&cluster), 2).await;
    env.group("kept", "Running", &ids[..1]).await;
    let process = Process::start(&env, &[ALONE]);
    env.wait_ready("kept").await;
    cluster.plane().backup().await.unwrap();
    env.group("lost", "Running", &ids[1..]).await;
    env.wait_ready("lost").await;
    for n in 0..50 {
        env.edit("kept", json!({"suspend": n % 2 == 0})).await;
    }
    env.wait_ready("kept").await;
    cluster.plane().restore().await.unwrap();
    process.logged("resourceVersion went back").await;
    // No group lists the other task any more, so nothing keeps it running.
    env.service.set_running(&ids[1], false).unwrap();
    let stop = kube::api::Patch::Merge(json!({"spec": {"desiredState": "Stopped"}}));
    env.groups().patch("kept", &kube::api::PatchParams::default(), &stop).await.unwrap();
    env.service.wait_until_all(false, &ids[..1], Duration::from_secs(20)).await.unwrap();
    assert!(env.service.running().is_empty());
}
