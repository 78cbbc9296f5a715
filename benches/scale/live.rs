//! A few hundred groups of one instance whose tasks are all to be started, applied while the
//! operator runs, or present when it starts.

use std::time::Duration;

use fdi_simulator::Operation;
use tokio::time::Instant;

use super::floors;
use super::objects::{Objects, Service, all_ready, status_writes};
use super::start;
use super::table::{Row, Unit};
use crate::support::{self, Environment};

const IN_FLIGHT: i32 = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Goals {
    from_first_apply: Option<f64>,
    after_last_apply: Option<f64>,
    from_start: Option<f64>,
    calls: Option<f64>,
    writes: Option<f64>,
}

pub async fn hundred() -> Vec<Row> {
    let writes = Some(200.0);
    let goals = Goals { from_first_apply: Some(0.8), from_start: Some(0.8), writes, ..Goals::default() };
    let mut rows = applied_live(&objects(100, 10), goals).await;
    rows.extend(present_at_the_start(&objects(100, 10), goals).await);
    rows
}

pub async fn three_hundred() -> Vec<Row> {
    let (calls, writes) = (Some(95.0), Some(600.0));
    applied_live(&objects(300, 3), Goals { after_last_apply: Some(0.7), calls, writes, ..Goals::default() }).await
}

fn objects(groups: usize, tasks: usize) -> Objects {
    Objects { tasks, service: Service::AllStopped, limits: Some((100, IN_FLIGHT)), ..start::objects(groups, 1) }
}

async fn applied_live(objects: &Objects, goals: Goals) -> Vec<Row> {
    let env = Environment::new().await;
    objects.create_instances(&env).await;
    let mut operator = support::start(&env.plane.kubeconfig_path(), "127.0.0.1:0");
    // It is at work once it has listed the instance.
    let listed = env.sim.wait_for(Duration::from_secs(60), |view| {
        view.log().iter().any(|entry| entry.operation == Operation::List).then_some(())
    });
    listed.await.expect("a list");
    let ready = tokio::spawn(all_ready(env.client.clone(), objects.groups));
    settle().await;
    let began = Instant::now();
    objects.create_groups(&env).await;
    let applied = Instant::now();
    let ready = ready.await.unwrap();
    settle().await;
    operator.kill().await.unwrap();
    let (whole, rest) = (ready - began, ready.saturating_duration_since(applied));
    let sent = sent(&env, objects, "applied live", goals).await;
    let least = floors::one_group(&env, objects).await;
    let alone = floors::applies(&env, objects).await;
    env.plane.stop().await.unwrap();
    let mut rows = vec![
        Row::seconds("applied live: first apply → all Ready", whole).floor_of(alone + least),
        Row::seconds("applied live: answer to the last apply → all Ready", rest).floor_of(least),
    ];
    rows[0].goal = goals.from_first_apply;
    rows[1].goal = goals.after_last_apply;
    rows.extend(sent);
    rows
}

async fn present_at_the_start(objects: &Objects, goals: Goals) -> Vec<Row> {
    let env = Environment::new().await;
    objects.create_instances(&env).await;
    objects.create_groups(&env).await;
    let ready = tokio::spawn(all_ready(env.client.clone(), objects.groups));
    settle().await;
    let began = Instant::now();
    let mut operator = support::start(&env.plane.kubeconfig_path(), "127.0.0.1:0");
    let took = ready.await.unwrap() - began;
    settle().await;
    operator.kill().await.unwrap();
    let sent = sent(&env, objects, "present at the start", goals).await;
    let floor = floors::calls(&env, objects, IN_FLIGHT as usize).await + floors::status_patches(&env).await;
    env.plane.stop().await.unwrap();
    let what = "present at the start: start of the process → all Ready";
    let mut rows = vec![Row { goal: goals.from_start, ..Row::seconds(what, took).floor_of(floor) }];
    rows.extend(sent);
    rows
}

/// Writes and calls that may still follow are counted too.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// The calls and status writes so far.
async fn sent(env: &Environment, objects: &Objects, how: &str, goals: Goals) -> Vec<Row> {
    let writes = status_writes(env).await;
    let calls = env.sim.with_log(|log| log.iter().filter(|entry| entry.operation == Operation::Batch).count());
    let least = (objects.groups * objects.tasks).div_ceil(10) as f64;
    let calls = Row::new(format!("{how}: calls"), Unit::Count, calls as f64).floor(least);
    let writes = Row::new(format!("{how}: status writes"), Unit::Count, writes).floor(objects.groups as f64);
    vec![Row { goal: goals.calls, ..calls }, Row { goal: goals.writes, ..writes }]
}
