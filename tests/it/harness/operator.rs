//! Operators: in this process with quick timings, or as the real binary.

use std::time::Duration;

use clap::Parser;
use fdi_operator::clients::Clients;
use fdi_operator::config::{Config, Flags};
use fdi_operator::fdi::{Fdi, FdiConfig};
use fdi_operator::operator;
use fdi_operator::process::{Parts, operate};
use fdi_operator::timings::Timings;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Stage;

/// The design's figures a fiftieth as long, but for those that are about people and machines rather than the service.
pub fn fast() -> Timings {
    let usual = Timings::default();
    let quick = |usual: Duration| usual / 50;
    Timings {
        settle_window: quick(usual.settle_window),
        look_again: usual.look_again.iter().map(|wait| quick(*wait)).collect(),
        backoff_base: quick(usual.backoff_base),
        backoff_max: quick(usual.backoff_max),
        slow_retry: quick(usual.slow_retry),
        contest_window: quick(usual.contest_window),
        missing_grace: quick(usual.missing_grace),
        refused_grace: quick(usual.refused_grace),
        stale_grace: quick(usual.stale_grace),
        deletion_give_up: quick(usual.deletion_give_up),
        deletion_gone: quick(usual.deletion_gone),
        secret_reread: quick(usual.secret_reread),
        run_slice: Duration::from_millis(500),
        fresh_list: quick(usual.fresh_list),
        poll_second: quick(usual.poll_second),
        start_spread: Duration::ZERO,
        ..usual
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

/// An operator in this process that watches one namespace. Dropping it is a kill.
pub struct Operator {
    end: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Operator {
    /// Starts one with quick timings.
    pub async fn start(stage: &Stage) -> Self {
        Self::with(stage, fast(), &[]).await
    }

    pub async fn with(stage: &Stage, timings: Timings, flags: &[&str]) -> Self {
        let scope = format!("--namespaces={}", stage.namespace);
        let always = ["operator", &scope, "--allow-insecure-endpoints", "--leader-election=false"];
        let flags = Cli::try_parse_from(always.iter().chain(flags)).unwrap().flags;
        // Requests of the tests are answered in milliseconds, or never.
        let fdi = FdiConfig {
            allow_insecure: true,
            request_timeout: Duration::from_millis(1500),
            connect_timeout: Duration::from_millis(1000),
            ..FdiConfig::default()
        };
        let config = Config { timings, fdi: Fdi::new(fdi).unwrap(), ..flags.check().unwrap() };
        let clients = Clients::new(&stage.cluster.operator_config().await).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (end, asked) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let asked_to_end = async {
                if asked.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let work = |parts: Parts| async move {
                if let Err(ended) = operator::work(parts).await {
                    panic!("the operator's work ended: {ended}");
                }
            };
            operate(config, clients, listener, asked_to_end, work).await.unwrap();
        });
        Self { end: Some(end), running }
    }

    /// A clean end.
    pub async fn end(mut self) {
        let _ = self.end.take().unwrap().send(());
        (&mut self.running).await.unwrap();
    }

    /// As if the process were killed: whatever it does stops in the middle.
    pub async fn kill(self) {
        self.running.abort();
        drop(self);
        tokio::task::yield_now().await;
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.running.abort();
    }
}
