//! Prometheus metrics. A test checks that `docs/metrics.md` has a row for each.
//!
//! Labels name instances (namespace and name), never tasks or groups, so that users cannot create
//! series at will. Methods are typed, so that no caller can mistype a label.

mod exposition;
mod instance;
mod process;
mod usage;

pub use exposition::OPENMETRICS;
pub use instance::{InstanceMetrics, TaskGauges};
pub use process::{EventLoss, Metrics, WatchKind};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::fdi::{Operation, RequestObserver as _};

    const RESULTS: [&str; 7] = ["ok", "split", "split_once", "sign_in", "config", "throttled", "unavailable"];

    /// Uses every method with every value.
    fn used(metrics: &Metrics) -> InstanceMetrics {
        let second = Duration::from_secs(1);
        let instance = metrics.instance("etl", "orders-roma");
        instance.set_exists(true);
        for operation in [Operation::List, Operation::MonitorLog, Operation::Start, Operation::Stop, Operation::SignIn]
        {
            for result in RESULTS {
                instance.request(operation, result, second, second);
            }
        }
        for ok in [true, false] {
            instance.reconcile(ok);
            instance.status_write(ok);
            metrics.leader(ok);
        }
        instance.batch(10);
        instance.tasks(TaskGauges { ready: 9, failed: 1, ..TaskGauges::default() });
        instance.convergence(second);
        instance.reconcile_panicked();
        instance.finalizer_give_up();
        metrics.event_published();
        for reason in [EventLoss::Overflow, EventLoss::RateLimited, EventLoss::Failed] {
            metrics.event_dropped(reason);
        }
        for kind in [WatchKind::FdiInstance, WatchKind::FdiTaskGroup] {
            metrics.watch_started(kind, "all");
            metrics.watch_synced(kind, "all");
            metrics.objects_rejected(kind, 1);
            metrics.watch_error(kind);
            metrics.watch_restarted(kind);
        }
        instance
    }

    /// Name → (type, label names), as exposed.
    fn exposed(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
        let mut found = BTreeMap::new();
        let mut samples = text.lines().peekable();
        while let Some(line) = samples.next() {
            let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            let sample = samples.peek().unwrap();
            let labels = sample.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let labels = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            found.insert(name.to_owned(), (kind.to_owned(), labels.filter(|label| label != "le").collect()));
        }
        found
    }

    /// Name → (type, label names), as documented.
    fn documented() -> BTreeMap<String, (String, Vec<String>)> {
        let page = include_str!("../docs/metrics.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, labels, unit, meaning] = cells[..] else { panic!("five cells: {row}") };
            assert!(!unit.is_empty() && !meaning.is_empty(), "{row}");
            let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
            (name.trim_matches('`').to_owned(), (kind.to_owned(), labels.filter(|label| label != "–").collect()))
        })
        .collect()
    }

    #[test]
    fn the_page_documents_every_metric_with_its_type_and_labels_and_no_other() {
        let metrics = Metrics::new();
        let _instance = used(&metrics);
        let exposed = exposed(&metrics.plain_text().unwrap());
        assert_eq!(exposed.len(), metrics.registered(), "every registered metric is used in this test");
        assert_eq!(exposed, documented());
    }

    #[test]
    fn names_and_units_keep_the_rules_of_prometheus() {
        let metrics = Metrics::new();
        let _instance = used(&metrics);
        for (name, (kind, labels)) in exposed(&metrics.plain_text().unwrap()) {
            assert!(
                (name.starts_with("fdi_operator_") || name.starts_with("process_"))
                    && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(
                !["_sum", "_count", "_bucket", "milliseconds", "_ms"].iter().any(|end| name.ends_with(end)),
                "{name}"
            );
            let bounded = [
                "exported_namespace",
                "name",
                "operation",
                "result",
                "state",
                "kind",
                "reason",
                "scope",
                "version",
                "revision",
            ];
            assert!(labels.iter().all(|label| bounded.contains(&label.as_str())), "{name}: {labels:?}");
        }
    }

    #[test]
    fn promtool_accepts_what_is_exposed_where_it_is_installed() {
        let metrics = Metrics::new();
        let _instance = used(&metrics);
        let promtool =
            Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut promtool) = promtool else { return };
        promtool.stdin.take().unwrap().write_all(metrics.plain_text().unwrap().as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn the_series_of_an_instance_go_with_it_and_those_of_others_stay() {
        let metrics = Metrics::new();
        let instance = used(&metrics);
        let other = metrics.instance("etl", "other");
        other.set_exists(true);
        other.reconcile(true);
        drop(instance);
        let text = metrics.openmetrics().unwrap();
        assert!(!text.contains("orders-roma"), "{text}");
        assert!(
            text.contains("fdi_operator_reconciles_total{exported_namespace=\"etl\",name=\"other\",result=\"ok\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn what_an_alert_counts_once_outlives_the_instance() {
        let metrics = Metrics::new();
        let instance = metrics.instance("etl", "orders-roma");
        let give_ups = |count| format!("fdi_operator_finalizer_give_ups_total{{exported_namespace=\"etl\"}} {count}\n");
        let panics = |count| format!("fdi_operator_reconcile_panics_total{{exported_namespace=\"etl\"}} {count}\n");
        let text = metrics.openmetrics().unwrap();
        assert!(text.contains(&give_ups(0)) && text.contains(&panics(0)), "{text}");
        instance.finalizer_give_up();
        instance.reconcile_panicked();
        drop(instance);
        let text = metrics.openmetrics().unwrap();
        assert!(text.contains(&give_ups(1)) && text.contains(&panics(1)), "{text}");
    }

    #[test]
    fn an_instance_that_does_not_exist_has_no_series() {
        let metrics = Metrics::new();
        let instance = used(&metrics);
        instance.set_exists(false);
        instance.reconcile(true);
        instance.tasks(TaskGauges::default());
        instance.status_write(false);
        instance.request(Operation::List, "ok", Duration::ZERO, Duration::ZERO);
        assert!(!metrics.openmetrics().unwrap().contains("orders-roma"));
        instance.set_exists(true);
        assert!(metrics.openmetrics().unwrap().contains("orders-roma"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_a_watch_is_computed_at_each_scrape() {
        let metrics = Metrics::new();
        metrics.watch_received(WatchKind::FdiTaskGroup, "all");
        tokio::time::advance(Duration::from_secs(42)).await;
        let line = "fdi_operator_watch_age_seconds{kind=\"FdiTaskGroup\",scope=\"all\"} 42.0\n";
        assert!(metrics.openmetrics().unwrap().contains(line));
        metrics.watch_received(WatchKind::FdiTaskGroup, "all");
        assert!(!metrics.openmetrics().unwrap().contains(line));
    }
}
