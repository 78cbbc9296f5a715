//! From an edit to the call that it causes.

use std::time::Duration;

use fdi_operator::crd::FdiTaskGroup;
use kube::api::Api;

use super::floors::{follow, signed_milliseconds, steps};
use super::objects::{Objects, all_ready, instance_id};
use super::slow_writes::SlowWrites;
use super::table::{Row, Unit};
use crate::edit::{edit, percentile};
use crate::support::{Environment, start};

const PAUSE: Duration = Duration::from_millis(250);

/// Milliseconds from each edit until its call arrives.
#[derive(Debug, Default)]
pub struct Latencies {
    from_sent: Vec<f64>,
    /// Since the API server's answer to the edit; negative when the call is first.
    from_answer: Vec<f64>,
}

/// The edits go round the instances, so that none meets an exhausted rate limit.
pub async fn edits(env: &Environment, objects: &Objects, count: usize) -> Latencies {
    let api: Api<FdiTaskGroup> = Api::default_namespaced(env.client.clone());
    let mut times = Latencies::default();
    for n in 0..count {
        let group = n % objects.groups.min(objects.instances);
        let instance = instance_id(objects.instance_of(group));
        let edited = edit(env, &api, &format!("g{group}"), &instance).await;
        let called = edited.called.expect("a call");
        times.from_sent.push(signed_milliseconds(edited.sent, called));
        times.from_answer.push(signed_milliseconds(edited.answered, called));
        tokio::time::sleep(PAUSE).await;
    }
    times
}

/// The rows of edits that were measured with an operator, beside the floor of the same edits.
pub async fn rows(env: &Environment, objects: &Objects, mut measured: Latencies) -> Vec<Row> {
    let following = follow(env, *objects).await;
    let mut floor = edits(env, objects, measured.from_sent.len()).await;
    following.abort();
    let mut rows = Vec::new();
    for (name, share, goal) in [("p50", 0.5, 2.0), ("p99", 0.99, 5.0)] {
        let row = |what: &str, measured: &mut [f64], floor: &mut [f64]| {
            let what = format!("{what}, {name}");
            Row::new(what, Unit::Milliseconds, percentile(measured, share)).floor(percentile(floor, share))
        };
        rows.push(row("edit → call", &mut measured.from_sent, &mut floor.from_sent));
        let answered = row("answer to the edit → call", &mut measured.from_answer, &mut floor.from_answer);
        rows.push(answered.goal(goal).without_ratio());
    }
    rows.extend(steps(env, objects).await);
    rows
}

/// The same edits through a proxy that delays status writes; the floor is the same proxy without
/// a delay.
pub async fn with_slow_writes(env: &Environment, objects: &Objects, count: usize) -> Vec<Row> {
    const DELAY: Duration = Duration::from_millis(500);
    let proxy = SlowWrites::start(env).await;
    let mut operator = start(&proxy.kubeconfig(), "127.0.0.1:0");
    all_ready(env.client.clone(), objects.groups).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut without = edits(env, objects, count).await;
    proxy.delay(DELAY);
    let mut with = edits(env, objects, count).await;
    proxy.delay(Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(3)).await;
    all_ready(env.client.clone(), objects.groups).await;
    operator.kill().await.unwrap();
    [("p50", 0.5), ("p99", 0.99)]
        .into_iter()
        .map(|(name, share)| {
            let what = format!("edit → call while each status write takes 500 ms, {name}");
            Row::new(what, Unit::Milliseconds, percentile(&mut with.from_sent, share))
                .floor(percentile(&mut without.from_sent, share))
        })
        .collect()
}
