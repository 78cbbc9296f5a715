//! A first start with many groups, one of each instance drifted, and the idle time that follows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fdi_operator::crd::FdiInstance;
use fdi_operator::testing::Chosen;
use fdi_simulator::Operation;
use kube::api::{Api, ListParams};
use tokio::process::Child;
use tokio::time::Instant;

use super::floors::{self, Retained};
use super::memory::Sample;
use super::objects::{Objects, Service, all_ready, groups, is_first_page, requests};
use super::table::{Row, Unit};
use crate::support::{Environment, cpu_seconds, mebibytes, start};

/// Goals of one size, where it has any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goals {
    pub first_call: Option<f64>,
    pub last_call: Option<f64>,
    pub ready: Option<f64>,
    /// All Ready, as a multiple of its floor.
    pub ready_ratio: Option<f64>,
    pub peak: Option<f64>,
    pub idle: Option<f64>,
    pub cpu: Option<f64>,
}

pub struct Started {
    pub env: Environment,
    pub objects: Objects,
    pub operator: Child,
    pub ready: f64,
    pub peak: f64,
    first_call: f64,
    last_call: f64,
}

/// Groups of ten tasks.
pub fn objects(groups: usize, instances: usize) -> Objects {
    let (chosen, service) = (Chosen::ById, Service::OneGroupStopped);
    Objects { groups, instances, tasks: 10, chosen, service, limits: None, poll: 60 }
}

/// Starts the operator and returns when all groups are Ready.
pub async fn first_start(objects: Objects) -> Started {
    let env = Environment::new().await;
    objects.create_instances(&env).await;
    objects.create_groups(&env).await;
    let ready = tokio::spawn(all_ready(env.client.clone(), objects.groups));
    let began = Instant::now();
    let began_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as f64;
    let operator = start(&env.plane.kubeconfig_path(), "127.0.0.1:0");
    let ready = (ready.await.unwrap() - began).as_secs_f64();
    until_events_are_published(&env).await;
    let calls: Vec<f64> = env.sim.with_log(|log| {
        let calls = log.iter().filter(|entry| entry.operation == Operation::Batch);
        calls.map(|entry| (entry.arrived_at as f64 - began_at) / 1000.0).collect()
    });
    let (first_call, last_call) = (calls.first().copied().unwrap(), calls.last().copied().unwrap());
    let peak = mebibytes(&operator.id().unwrap().to_string(), "VmHWM");
    Started { env, objects, operator, ready, peak, first_call, last_call }
}

impl Started {
    /// An idle time. Its rows, and the memory at its end.
    pub async fn idle(&self, seconds: u64, goals: Goals) -> (Vec<Row>, f64) {
        let (env, pid) = (&self.env, self.operator.id().unwrap());
        let (cpu, lists, written) = (cpu_seconds(pid), lists(env), versions(&env.client).await);
        let sent = api_requests(env).await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let share = (cpu_seconds(pid) - cpu) / seconds as f64 * 100.0;
        let intervals = seconds as f64 / f64::from(self.objects.poll) * self.objects.instances as f64;
        let lists = (self::lists(env) - lists) as f64 / intervals;
        let sent = (api_requests(env).await - sent) * 60.0 / seconds as f64;
        let after = versions(&env.client).await;
        let written = written.iter().zip(&after).filter(|(before, after)| before != after).count();
        let idle = mebibytes(&pid.to_string(), "VmRSS");
        let rows = vec![
            with_goal(Row::new("idle: CPU, of one core", Unit::Percent, share), goals.cpu),
            Row::new("idle: lists of an instance in a poll interval", Unit::Count, lists).floor(1.0).goal(2.0),
            Row::new("idle: requests to the API server in a minute", Unit::Count, sent),
            Row::new("idle: objects written", Unit::Count, written as f64).floor(0.0).goal(0.0),
        ];
        (rows, idle)
    }

    /// The rows of the start, and of the memory. The operator has ended.
    pub async fn rows(&self, idle: f64, goals: Goals) -> (Vec<Row>, Sample) {
        let env = &self.env;
        let Retained { seconds, idle: floor, peak } = floors::retained(&env.plane.kubeconfig_path()).await;
        let call = seconds + floors::list_and_call_each(env, &self.objects).await.as_secs_f64();
        let patches = floors::status_patches(env).await.as_secs_f64();
        let ready_goal = goals.ready.or(goals.ready_ratio.map(|ratio| ratio * patches));
        let row = |what: &str, unit, figure, floor, goal| with_goal(Row::new(what, unit, figure).floor(floor), goal);
        let rows = vec![
            row("first start: first call of a drifted group", Unit::Seconds, self.first_call, call, goals.first_call),
            row("first start: last call of a drifted group", Unit::Seconds, self.last_call, call, goals.last_call),
            row("first start: all Ready", Unit::Seconds, self.ready, patches, ready_goal),
            row("memory: peak", Unit::Mebibytes, self.peak, peak, goals.peak),
            row("memory: idle", Unit::Mebibytes, idle, floor, goals.idle),
        ];
        (rows, Sample { groups: self.objects.groups, idle, floor })
    }
}

/// Waits for the events of the start, of which the operator publishes 20 a second.
async fn until_events_are_published(env: &Environment) {
    let mut published = -1.0;
    loop {
        let now = requests(env, &["resource=\"events\""]).await;
        if now <= published {
            return;
        }
        published = now;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn with_goal(row: Row, goal: Option<f64>) -> Row {
    match goal {
        Some(goal) => row.goal(goal),
        None => row,
    }
}

fn lists(env: &Environment) -> usize {
    env.sim.with_log(|log| log.iter().filter(|entry| is_first_page(entry)).count())
}

/// Requests for the resources that the operator uses.
async fn api_requests(env: &Environment) -> f64 {
    let mut sum = 0.0;
    for resource in ["fdiinstances", "fditaskgroups", "secrets", "events"] {
        sum += requests(env, &[&format!("resource=\"{resource}\"")]).await;
    }
    sum
}

async fn versions(client: &kube::Client) -> Vec<Option<String>> {
    let instances: Api<FdiInstance> = Api::all(client.clone());
    let instances = instances.list(&ListParams::default()).await.unwrap().items;
    let groups = groups(client).await.into_iter().map(|group| group.metadata.resource_version);
    groups.chain(instances.into_iter().map(|instance| instance.metadata.resource_version)).collect()
}
