//! One real process through churn and faults for any length of time: does it grow? `make soak`, or
//! shorter: `cargo bench --bench soak -- --minutes 10`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod port;
mod support;

use std::time::{Duration, Instant};

use clap::Parser;
use fdi_operator::crd::{FdiInstance, FdiTaskGroup};
use fdi_simulator::{Effect, InstanceHandle, NewTasks, Operation, Trigger};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use port::free_port;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::json;
use support::{Environment, PROJECT, cpu_seconds, is_ready, mebibytes, object, start};

const INSTANCES: usize = 20;
const GROUPS_EACH: usize = 5;
const TASKS_EACH: usize = 10;

#[derive(Parser)]
struct Cli {
    /// Minutes of churn.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One `FdiInstance` with its groups. No name is used twice, so that anything kept by name shows as
/// growth.
struct Instance {
    name: String,
    service: InstanceHandle,
    groups: Vec<(String, Vec<String>)>,
}

struct Churn {
    environment: Environment,
    instances: Vec<Instance>,
    named: usize,
    token: String,
    actions: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    mebibytes: f64,
    files: usize,
    series: usize,
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let mut churn = Churn {
        environment: Environment::new().await,
        instances: Vec::new(),
        named: 0,
        token: "token".into(),
        actions: 0,
    };
    for _ in 0..INSTANCES {
        churn.new_instance().await;
    }
    let listen = format!("127.0.0.1:{}", free_port());
    let mut operator = start(&churn.environment.plane.kubeconfig_path(), &listen);
    let pid = operator.id().unwrap();
    println!(
        "| minute | RSS MiB | open files | metric series | actions | calls | CPU s |\n|---|---|---|---|---|---|---|"
    );
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < Duration::from_secs(60 * cli.minutes) {
        churn.act_randomly().await;
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(50..250))).await;
        if began.elapsed() >= Duration::from_secs(30) * u32::try_from(samples.len() + 1).unwrap() {
            let sample = sample(pid, &listen).await;
            if samples.len() % 10 == 9 {
                churn.row(began, sample, pid);
            }
            samples.push(sample);
        }
        assert!(operator.try_wait().unwrap().is_none(), "the operator ended");
    }
    churn.converge_and_stay_idle().await;
    let end = sample(pid, &listen).await;
    churn.row(began, end, pid);
    judge(&samples);
    operator.kill().await.unwrap();
    churn.environment.plane.stop().await.unwrap();
}

async fn sample(pid: u32, listen: &str) -> Sample {
    let metrics = reqwest::get(format!("http://{listen}/metrics")).await.unwrap().text().await.unwrap();
    Sample {
        mebibytes: mebibytes(&pid.to_string(), "VmRSS"),
        files: std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        series: metrics.lines().filter(|line| !line.starts_with('#')).count(),
    }
}

/// The last third must not need more than the second: a leak goes on growing, a cache fills up.
fn judge(samples: &[Sample]) {
    let third = samples.len() / 3;
    if third < 5 {
        println!("\ntoo short to judge");
        return;
    }
    let median = |samples: &[Sample], of: fn(&Sample) -> f64| {
        let mut all: Vec<f64> = samples.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let stays = |what: &str, of: fn(&Sample) -> f64| {
        let (middle, last) = (median(&samples[third..2 * third], of), median(&samples[2 * third..], of));
        println!("{what}: median of the second third {middle:.1}, of the last {last:.1}");
        assert!(last <= middle * 1.15, "{what} grows");
    };
    println!();
    stays("RSS in MiB", |sample| sample.mebibytes);
    stays("open files", |sample| sample.files as f64);
    stays("metric series", |sample| sample.series as f64);
}

impl Churn {
    fn row(&self, began: Instant, sample: Sample, pid: u32) {
        let calls = self.environment.sim.with_log(|log| log.iter().filter(|e| e.operation == Operation::Batch).count());
        let Sample { mebibytes, files, series } = sample;
        let (minute, cpu) = (began.elapsed().as_secs() / 60, cpu_seconds(pid));
        println!("| {minute} | {mebibytes:.1} | {files} | {series} | {} | {calls} | {cpu:.0} |", self.actions);
    }

    fn name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}{}", self.named)
    }

    fn groups_api(&self) -> Api<FdiTaskGroup> {
        Api::default_namespaced(self.environment.client.clone())
    }

    fn instances_api(&self) -> Api<FdiInstance> {
        Api::default_namespaced(self.environment.client.clone())
    }

    async fn new_instance(&mut self) {
        let name = self.name("instance-");
        let service = self.environment.sim.instance(PROJECT, &name);
        let spec = json!({
            "endpoint": self.environment.sim.url(), "projectId": PROJECT, "instanceId": name,
            "auth": {"token": {"secretRef": {"name": "token"}}}, "pollIntervalSeconds": 10,
            "rateLimit": {"requestsPerSecond": 20},
        });
        self.instances_api().create(&PostParams::default(), &object("FdiInstance", &name, &spec)).await.unwrap();
        self.instances.push(Instance { name, service, groups: Vec::new() });
        for _ in 0..GROUPS_EACH {
            self.new_group(self.instances.len() - 1).await;
        }
    }

    async fn new_group(&mut self, at: usize) {
        let name = self.name("group-");
        let ids = (0..TASKS_EACH).map(|n| format!("{name}-task-{n}")).collect::<Vec<_>>();
        let instance = &mut self.instances[at];
        instance.service.create(&NewTasks { ids: ids.clone(), ..NewTasks::default() });
        let spec = json!({"instanceRef": {"name": instance.name}, "desiredState": "Running", "taskIds": ids});
        instance.groups.push((name.clone(), ids));
        self.groups_api().create(&PostParams::default(), &object("FdiTaskGroup", &name, &spec)).await.unwrap();
    }

    /// One random action of a user, the service or the cluster.
    async fn act_randomly(&mut self) {
        self.actions += 1;
        let at = rand::rng().random_range(0..self.instances.len());
        match rand::rng().random_range(0..100) {
            0..40 => self.edit(at).await,
            40..60 => self.drift(at),
            60..75 => self.fault(at),
            75..88 => self.replace_group(at).await,
            88..92 => self.replace_instance(at).await,
            92..95 => self.new_token().await,
            _ => self.request(at).await,
        }
    }

    async fn patch(&self, at: usize, patch: serde_json::Value) {
        let (name, _) = self.instances[at].groups.choose(&mut rand::rng()).unwrap();
        self.groups_api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn edit(&self, at: usize) {
        let state = ["Running", "Stopped"].choose(&mut rand::rng()).unwrap();
        let suspend = rand::rng().random_bool(0.05);
        self.patch(at, json!({"spec": {"desiredState": state, "suspend": suspend}})).await;
    }

    async fn request(&self, at: usize) {
        let annotations = json!({"reconcile.fluxcd.io/requestedAt": rand::rng().next_u64().to_string()});
        self.patch(at, json!({"metadata": {"annotations": annotations}})).await;
    }

    fn drift(&self, at: usize) {
        let (_, ids) = self.instances[at].groups.choose(&mut rand::rng()).unwrap();
        for id in ids.choose_multiple(&mut rand::rng(), 3) {
            self.instances[at].service.set_running(id, rand::rng().random_bool(0.5)).unwrap();
        }
    }

    fn fault(&self, at: usize) {
        let (_, ids) = self.instances[at].groups.choose(&mut rand::rng()).unwrap();
        let effects = [
            Effect::fdi(500, "FDI.9999", "an error within"),
            Effect::fdi(400, "FDI.3083", &format!("no plan for {}", ids[0])),
            Effect::gateway(429, "APIGW.0308", "too many"),
            Effect::html(502),
            Effect::Cut { acts: true },
            Effect::CutBody { bytes: 20 },
            Effect::MissingIds { count: 1 },
            Effect::Flood { bytes: 100_000_000 },
            Effect::Delay { before_ms: 500, after_ms: 500 },
        ];
        let operation = [Operation::Batch, Operation::List].choose(&mut rand::rng()).copied().unwrap();
        let effect = effects.choose(&mut rand::rng()).cloned().unwrap();
        self.instances[at].service.fault(Trigger::on(operation).times(1), effect);
    }

    async fn replace_group(&mut self, at: usize) {
        let groups = &mut self.instances[at].groups;
        let (name, ids) = groups.swap_remove(rand::rng().random_range(0..groups.len()));
        self.groups_api().delete(&name, &DeleteParams::default()).await.unwrap();
        for id in ids {
            self.instances[at].service.delete_task(&id).unwrap();
        }
        self.new_group(at).await;
    }

    async fn replace_instance(&mut self, at: usize) {
        let instance = self.instances.swap_remove(at);
        self.instances_api().delete(&instance.name, &DeleteParams::default()).await.unwrap();
        let groups = self.groups_api();
        let deletions =
            instance.groups.iter().map(async |(name, _)| groups.delete(name, &DeleteParams::default()).await);
        join_all(deletions).await.into_iter().for_each(|deleted| drop(deleted.unwrap()));
        self.new_instance().await;
    }

    /// A new token, which revokes the old one.
    async fn new_token(&mut self) {
        let new = format!("token-{}", rand::rng().next_u64());
        self.environment.sim.set_token(&new, Some(PROJECT), Duration::from_secs(24 * 3600));
        let secrets: Api<Secret> = Api::default_namespaced(self.environment.client.clone());
        let patch = Patch::Merge(json!({"stringData": {"token": new}}));
        secrets.patch("token", &PatchParams::default(), &patch).await.unwrap();
        self.environment.sim.revoke_token(&std::mem::replace(&mut self.token, new));
    }

    /// Without further churn every group that is not suspended becomes Ready, and then the operator
    /// writes nothing more.
    async fn converge_and_stay_idle(&self) {
        self.environment.sim.clear_faults();
        let began = Instant::now();
        loop {
            let groups = self.groups_api().list(&ListParams::default()).await.unwrap().items;
            let pending: Vec<String> =
                groups.iter().filter(|group| !is_converged(group)).map(ResourceExt::name_any).collect();
            if pending.is_empty() {
                println!("\nafter the last action every group converged within {:.0} s", began.elapsed().as_secs_f64());
                break;
            }
            assert!(began.elapsed() < Duration::from_mins(15), "still not converged: {pending:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let versions = async || -> Vec<_> {
            self.groups_api()
                .list(&ListParams::default())
                .await
                .unwrap()
                .iter()
                .map(ResourceExt::resource_version)
                .collect()
        };
        // Until the lists that follow the last accepted call are over.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let before = versions().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(before == versions().await, "written while idle");
    }
}

fn is_converged(group: &FdiTaskGroup) -> bool {
    let Some(status) = &group.status else { return false };
    let is_current = Some(status.observed_generation) == group.metadata.generation;
    is_current && (group.spec.suspend || is_ready(group))
}
