//! One namespace does all it may, while the edits of another one are timed: from sending an edit
//! until the service receives its call. `make hostile`, or shorter: `cargo bench --bench hostile --
//! --minutes 5`.
//!
//! Operator, API server, etcd, the service and this program share one machine, so the load alone
//! slows the quiet tenant down. The undisturbed figure is therefore that of the same load without
//! an operator that serves it: the neighbour's objects, edits and Secrets, as many editors, and a
//! watch that receives them all, but of a copy of the CRDs in another API group. What the ratio
//! shows is what the operator adds: its memory, its queues, its status writes and its requests to
//! the neighbour's services.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod edit;
mod port;
mod support;

mod hostile {
    pub mod limits;
    pub mod neighbour;
    pub mod objects;
    pub mod probes;
    pub mod quiet;
}

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use edit::percentile;
use fdi_simulator::Operation;
use hostile::limits::Limits;
use hostile::neighbour::Neighbour;
use hostile::objects::{SERVED, UNSERVED};
use hostile::{objects, probes, quiet};
use port::free_port;
use support::{Environment, cpu_seconds, mebibytes, start};

/// The quiet tenant's p99 may be so many times that without the neighbour.
const HIGHEST_RATIO: f64 = 2.0;

#[derive(Parser)]
struct Cli {
    /// Minutes with the neighbour; a quarter as many without it come before them.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let limits = Limits::of_the_manifest();
    let env = Environment::new().await;
    objects::copy_crds(&env).await;
    let listen = format!("127.0.0.1:{}", free_port());
    let mut operator = start(&env.plane.kubeconfig_path(), &listen);
    let pid = operator.id().unwrap();
    quiet::create(&env).await;

    let span = Duration::from_secs(60 * cli.minutes);
    let unserved = Neighbour::new(&env, UNSERVED);
    let watching = unserved.watch();
    let (mut undisturbed, edits) = tokio::join!(quiet::edits(&env, span / 4), unserved.act(span / 4));
    watching.abort();
    println!("undisturbed: {edits} of the neighbour's edits to objects that nobody serves");

    let (cpu, calls) = (cpu_seconds(pid), batches(&env));
    let served = Neighbour::new(&env, SERVED);
    served.spoil_services();
    let livez = probes::poll(&listen, limits.probe_timeout);
    let flood = probes::flood(&listen, span);
    let (mut disturbed, edits) = tokio::join!(quiet::edits(&env, span), served.act(span));
    flood.abort();
    let livez = livez.end().await;
    let (cpu, calls) = (cpu_seconds(pid) - cpu, batches(&env) - calls);
    println!(
        "with the neighbour: {edits} of its edits, {calls} calls, {:.0} % of a core for the operator\n",
        cpu / span.as_secs_f64() * 100.0
    );

    let mut problems = Vec::new();
    println!("| the quiet tenant | undisturbed | with the neighbour | ratio |\n|---|---|---|---|");
    println!("| edits | {} | {} | |", undisturbed.calls.len(), disturbed.calls.len());
    let row = |what: &str, share, undisturbed: &mut [f64], disturbed: &mut [f64]| {
        let (before, after) = (percentile(undisturbed, share), percentile(disturbed, share));
        println!("| {what} | {before:.1} ms | {after:.1} ms | {:.2} |", after / before);
        after / before
    };
    row("edit → answer of the API server, p50", 0.5, &mut undisturbed.answers, &mut disturbed.answers);
    row("edit → answer of the API server, p99", 0.99, &mut undisturbed.answers, &mut disturbed.answers);
    row("edit → call, p50", 0.5, &mut undisturbed.calls, &mut disturbed.calls);
    let ratio = row("edit → call, p99", 0.99, &mut undisturbed.calls, &mut disturbed.calls);
    if ratio > HIGHEST_RATIO {
        problems.push(format!("p99 of edit → call is {ratio:.2} times that without the neighbour"));
    }
    let memory = mebibytes(&pid.to_string(), "VmHWM");
    println!("\nhighest memory: {memory:.0} MiB of {:.0} MiB", limits.memory);
    if memory > limits.memory {
        problems.push("the memory is above the limit of the manifest".to_owned());
    }
    println!("/livez: {} failures of {} probes, the slowest {:.0} ms", livez.failures, livez.count, livez.slowest);
    if livez.failures > 0 {
        problems.push(format!("/livez failed {} times", livez.failures));
    }
    if operator.try_wait().unwrap().is_some() {
        problems.push("the operator ended".to_owned());
    }
    let _ = operator.kill().await;
    env.plane.stop().await.unwrap();
    for problem in &problems {
        eprintln!("FAILED: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn batches(env: &Environment) -> usize {
    env.sim.with_log(|log| log.iter().filter(|entry| entry.operation == Operation::Batch).count())
}
