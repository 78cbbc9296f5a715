//! A thousand tasks of one instance at its rate limit, with a service that takes its time.

use fdi_simulator::{Effect, Operation, Trigger};

use super::objects::{Objects, Service, all_ready, is_first_page};
use super::start;
use super::table::{Row, Unit};
use crate::support::{self, Environment};

const RATE: i32 = 10;
const LATENCY_MS: u64 = 50;

pub async fn at_the_limit() -> Vec<Row> {
    let limits = Some((RATE, 2));
    let objects = Objects { service: Service::AllStopped, limits, ..start::objects(100, 1) };
    let env = Environment::new().await;
    for operation in [Operation::List, Operation::Batch] {
        env.sim.fault(Trigger::on(operation), Effect::Delay { before_ms: LATENCY_MS, after_ms: 0 });
    }
    objects.create_instances(&env).await;
    objects.create_groups(&env).await;
    let mut operator = support::start(&env.plane.kubeconfig_path(), "127.0.0.1:0");
    all_ready(env.client.clone(), objects.groups).await;
    operator.kill().await.unwrap();
    let (arrived, lists) = env.sim.with_log(|log| {
        let sent: Vec<_> = log.iter().filter(|e| matches!(e.operation, Operation::List | Operation::Batch)).collect();
        let last = sent.iter().rposition(|entry| entry.operation == Operation::Batch).unwrap();
        let lists = sent[..last].iter().filter(|entry| is_first_page(entry)).count();
        ((sent[last].arrived_at - sent[0].arrived_at) as f64 / 1000.0, lists)
    });
    env.plane.stop().await.unwrap();
    // Two pages of one list and a hundred calls, of which the first ten requests are the burst.
    let ideal = f64::from(2 + 100 - RATE) / f64::from(RATE);
    vec![
        Row::new("first list → last of 100 calls", Unit::Seconds, arrived).floor(ideal).goal(ideal * 1.05),
        Row::new("lists until the last call", Unit::Count, lists as f64).floor(1.0),
    ]
}
