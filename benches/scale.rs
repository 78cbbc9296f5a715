//! Scale and cost of the real binary on a real kube-apiserver, as a table. `make scale`, or with
//! other sizes: `cargo bench --bench scale -- --groups 10000 --instances 100 --idle 60`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use controlplane::ControlPlane;
use fdi_operator::crd::{FdiInstance, FdiTaskGroup};
use fdi_simulator::{NewTasks, Operation, Simulator};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use support::{Environment, PROJECT, cpu_seconds, is_ready, object, rss_megabytes, start};

#[derive(Parser)]
struct Cli {
    /// Groups in all.
    #[arg(long, default_value_t = 1000)]
    groups: usize,
    /// Instances that they are spread over.
    #[arg(long, default_value_t = 100)]
    instances: usize,
    /// Tasks of each group; they are running, as desired.
    #[arg(long, default_value_t = 10)]
    tasks: usize,
    /// Poll interval in seconds.
    #[arg(long, default_value_t = 60)]
    poll: i32,
    /// Seconds of idle time to measure.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Edits of one group whose latency to the service is measured.
    #[arg(long, default_value_t = 40)]
    edits: usize,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let Environment { plane, sim, client } = Environment::new().await;
    fill(&cli, &sim, &client).await;

    let Cli { groups, tasks, instances, poll, .. } = &cli;
    println!("| {groups} groups × {tasks} tasks over {instances} instances, poll {poll} s | |\n|---|---|");
    let began = Instant::now();
    let mut operator = start(&plane, "127.0.0.1:0");
    ready(client.clone(), cli.groups).await;
    let took = began.elapsed().as_secs_f64();
    let pid = operator.id().unwrap();
    let worked = cpu_seconds(pid);
    row("cold start → every group Ready", format!("{took:.1} s, of which the operator used {worked:.1} s of CPU"));
    row("start and stop calls for that", count(&sim, Operation::Batch));
    tokio::time::sleep(Duration::from_secs(5)).await;

    let (cpu, lists, writes) = (cpu_seconds(pid), count(&sim, Operation::List), versions(&client).await);
    let before = requests(&plane).await;
    tokio::time::sleep(Duration::from_secs(cli.idle)).await;
    let (used, idle) = (cpu_seconds(pid) - cpu, cli.idle as f64);
    let lists = (count(&sim, Operation::List) - lists) as f64;
    row("idle CPU", format!("{:.2} % of a core ({:.0} s an hour)", used / idle * 100.0, used * 3600.0 / idle));
    row(
        "list requests an instance and poll interval",
        format!("{:.2}", lists / cli.instances as f64 * f64::from(cli.poll) / idle),
    );
    row("requests to the API server a minute", format!("{:.0}", (requests(&plane).await - before) * 60.0 / idle));
    row("objects written while idle", changed(&writes, &versions(&client).await));
    row("RSS idle", format!("{:.1} MB", rss_megabytes(pid)));

    operator.kill().await.unwrap();
    let (began, seen) = (Instant::now(), sim.last_seq());
    let mut operator = start(&plane, "127.0.0.1:0");
    let listed = sim.wait_for(Duration::from_secs(120), |view| {
        let new = view.log().iter().rev().take_while(|entry| entry.seq > seen);
        let listed: HashSet<_> = new.filter_map(|entry| entry.instance.clone()).collect();
        (listed.len() == cli.instances).then_some(())
    });
    listed.await.expect("a list of each instance");
    row("restart → every instance listed again", format!("{:.1} s", began.elapsed().as_secs_f64()));
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mut times = edits(&cli, &sim, &client).await;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
    row(
        &format!("edit of {} tasks → call received ({} edits)", cli.tasks, times.len()),
        format!("p50 {} ms, p99 {} ms", at(0.5), at(0.99)),
    );
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_fdi-operator")).unwrap().len();
    row("binary", format!("{:.1} MB", binary as f64 / 1e6));
    operator.kill().await.unwrap();
    plane.stop().await.unwrap();
}

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("| {what} | {figure} |");
}

fn id(instance: usize, group: usize, task: usize) -> String {
    format!("{instance:08x}{group:012x}{task:012x}")
}

async fn fill(cli: &Cli, sim: &Simulator, client: &kube::Client) {
    for instance in 0..cli.instances {
        let service = sim.instance(PROJECT, &format!("instance-{instance}"));
        let groups = (0..cli.groups).filter(|group| group % cli.instances == instance);
        let ids = groups.flat_map(|group| (0..cli.tasks).map(move |task| id(instance, group, task))).collect();
        service.create(&NewTasks { ids, running: true, ..NewTasks::default() });
        let spec = json!({
            "endpoint": sim.url(), "projectId": PROJECT, "instanceId": format!("instance-{instance}"),
            "auth": {"token": {"secretRef": {"name": "token"}}}, "pollIntervalSeconds": cli.poll,
        });
        let instances: Api<FdiInstance> = Api::default_namespaced(client.clone());
        let new = object("FdiInstance", &format!("i{instance}"), &spec);
        instances.create(&PostParams::default(), &new).await.unwrap();
    }
    let creating = (0..cli.groups).map(|group| {
        let groups: Api<FdiTaskGroup> = Api::default_namespaced(client.clone());
        let instance = group % cli.instances;
        let ids: Vec<String> = (0..cli.tasks).map(|task| id(instance, group, task)).collect();
        let spec = json!({"instanceRef": {"name": format!("i{instance}")}, "desiredState": "Running", "taskIds": ids});
        let new = object("FdiTaskGroup", &format!("g{group}"), &spec);
        async move { groups.create(&PostParams::default(), &new).await.unwrap() }
    });
    futures::stream::iter(creating).buffer_unordered(16).collect::<Vec<_>>().await;
}

/// Waits until that many groups are Ready. It watches, because repeated lists would slow what is
/// measured.
async fn ready(client: kube::Client, groups: usize) {
    let api: Api<FdiTaskGroup> = Api::default_namespaced(client);
    let mut events = watcher(api, watcher::Config::default()).applied_objects().boxed();
    let mut ready = HashSet::new();
    while ready.len() < groups {
        let group = events.next().await.expect("a watch does not end").unwrap();
        if is_ready(&group) {
            ready.insert(group.name_any());
        } else {
            ready.remove(&group.name_any());
        }
    }
}

fn count(sim: &Simulator, operation: Operation) -> usize {
    sim.with_log(|log| log.iter().filter(|entry| entry.operation == operation).count())
}

/// Requests for the resources that only the operator uses, as the API server counts them. The two
/// lists of this program are among them.
async fn requests(plane: &ControlPlane) -> f64 {
    let metrics = plane.kubectl().run(["get", "--raw", "/metrics"]).await.unwrap().stdout;
    let ours =
        ["resource=\"fdiinstances\"", "resource=\"fditaskgroups\"", "resource=\"secrets\"", "resource=\"events\""];
    let total = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{"));
    let total = total.filter(|line| ours.iter().any(|resource| line.contains(resource)));
    total.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn versions(client: &kube::Client) -> Vec<Option<String>> {
    let groups: Api<FdiTaskGroup> = Api::default_namespaced(client.clone());
    let instances: Api<FdiInstance> = Api::default_namespaced(client.clone());
    let groups = groups.list(&ListParams::default()).await.unwrap().items;
    let instances = instances.list(&ListParams::default()).await.unwrap().items;
    let groups = groups.into_iter().map(|group| group.metadata.resource_version);
    groups.chain(instances.into_iter().map(|instance| instance.metadata.resource_version)).collect()
}

fn changed(before: &[Option<String>], after: &[Option<String>]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// Milliseconds from each edit to the arrival of its call.
async fn edits(cli: &Cli, sim: &Simulator, client: &kube::Client) -> Vec<i64> {
    let api: Api<FdiTaskGroup> = Api::default_namespaced(client.clone());
    let mut times = Vec::new();
    for n in 0..cli.edits {
        let state = if n % 2 == 0 { "Stopped" } else { "Running" };
        let since = sim.last_seq();
        let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let patch = json!({"spec": {"desiredState": state}});
        api.patch("g0", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        let arrived = sim.wait_for(Duration::from_secs(10), |view| {
            let mut new = view.log().iter().rev().take_while(|entry| entry.seq > since);
            new.find(|entry| entry.operation == Operation::Batch).map(|entry| entry.arrived_at)
        });
        times.push(arrived.await.expect("a call") - i64::try_from(sent).unwrap());
        // By then the tasks have settled, the rate limiter is full, and the last list is so old
        // that the next edit needs its own.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    times
}
