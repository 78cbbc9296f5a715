//! The API server's data is restored from a backup: its versions go back, and everything since is
//! gone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::broken_watches::Scene;
use crate::harness::{Cluster, Process, Stage, faults};

const ALONE: &str = "--leader-election=false";

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_edits_are_seen_and_groups_that_are_gone_are_forgotten() {
    let scene = Scene::set(2, &[]).await;
    let backup = scene.api().backup();
    scene.stop(0);
    scene.stopped(0).await;
    scene.api().group("late", "Stopped", &scene.ids[1..]);
    scene.until("three groups counted", || scene.api().counted() == Some(3)).await;
    for _ in 0..50 {
        scene.api().put("fditaskgroups", "late", json!({"metadata": {"labels": {}}}));
    }
    scene.api().restore(backup);
    // The restored spec says Running, and the status that was restored with it knows nothing of the
    // stop.
    scene.until("started again", || scene.service.running().contains(&scene.ids[0])).await;
    scene.until("two groups counted", || scene.api().counted() == Some(2)).await;
    scene.until("Ready", || scene.api().is_ready("g00")).await;
    scene.stop(1);
    let took = scene.stopped(1).await;
    faults::row("the API server is restored from a backup", "listed anew, an edit carried out", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_lost_in_a_restore_is_written_again() {
    let mut scene = Scene::before(2).await;
    let backup = scene.api().backup();
    scene.operate(&[]);
    scene.all_ready().await;
    scene.api().restore(backup);
    scene.until("Ready again", || scene.api().is_ready("g00") && scene.api().is_ready("g01")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_etcd_that_is_restored_is_noticed() {
    let cluster = Arc::new(Cluster::start().await);
    let (stage, ids) = Stage::on(Arc::clone(&cluster), 2).await;
    stage.group("kept", "Running", &ids[..1]).await;
    let process = Process::start(&stage, &[ALONE]);
    stage.wait_ready("kept").await;
    cluster.plane().backup().await.unwrap();
    stage.group("lost", "Running", &ids[1..]).await;
    stage.wait_ready("lost").await;
    for n in 0..50 {
        stage.edit("kept", json!({"suspend": n % 2 == 0})).await;
    }
    stage.wait_ready("kept").await;
    cluster.plane().restore().await.unwrap();
    process.logged("resourceVersion went back").await;
    // No group declares the other task any more, so nothing keeps it running.
    stage.service.set_running(&ids[1], false).unwrap();
    let stop = kube::api::Patch::Merge(json!({"spec": {"desiredState": "Stopped"}}));
    stage.groups().patch("kept", &kube::api::PatchParams::default(), &stop).await.unwrap();
    stage.service.wait_until_all(false, &ids[..1], Duration::from_secs(20)).await.unwrap();
    assert!(stage.service.running().is_empty());
}
