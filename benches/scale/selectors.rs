//! Groups that choose by selector, beside the same groups with IDs as their floor.

use std::time::Duration;

use fdi_operator::testing::Chosen;

use super::objects::Objects;
use super::start;
use super::table::{Row, Unit};
use crate::support::{cpu_seconds, mebibytes};

/// With this poll interval the CPU of idle polls can be measured.
const POLL: i32 = 10;
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Figures {
    ready: f64,
    peak: f64,
    idle: f64,
    cpu: f64,
}

/// A thousand tasks in 200 groups.
pub async fn beside_ids() -> Vec<Row> {
    let ids = figures(Chosen::ById).await;
    let selectors = figures(Chosen::BySelector).await;
    let row = |what, unit, of: fn(Figures) -> f64| Row::new(what, unit, of(selectors)).floor(of(ids));
    vec![
        row("first start: all Ready", Unit::Seconds, |figures| figures.ready),
        row("memory: peak", Unit::Mebibytes, |figures| figures.peak),
        row("memory: idle", Unit::Mebibytes, |figures| figures.idle),
        row("idle: CPU of a poll", Unit::Milliseconds, |figures| figures.cpu),
    ]
}

async fn figures(chosen: Chosen) -> Figures {
    let objects = Objects { tasks: 5, chosen, poll: POLL, ..start::objects(200, 1) };
    let mut started = start::first_start(objects).await;
    let pid = started.operator.id().unwrap();
    let before = cpu_seconds(pid);
    tokio::time::sleep(IDLE).await;
    let polls = IDLE.as_secs_f64() / f64::from(POLL);
    let cpu = (cpu_seconds(pid) - before) * 1000.0 / polls;
    let idle = mebibytes(&pid.to_string(), "VmRSS");
    started.operator.kill().await.unwrap();
    started.env.plane.stop().await.unwrap();
    Figures { ready: started.ready, peak: started.peak, idle, cpu }
}
