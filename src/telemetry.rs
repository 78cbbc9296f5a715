//! Logs: readable lines on a terminal, JSON for collectors; on stderr, because subcommands print to
//! stdout.

mod json;

use std::backtrace::Backtrace;
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::str::FromStr;

use self::json::TopLevelJson;
use tracing::Span;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Directives that hold whatever the user sets.
///
/// When a response cannot be decoded, kube logs its whole body at WARN and TRACE
/// (`kube_client::client`), that of a Secret too. It logs every transport failure at ERROR
/// (`kube_client::client::builder`); our own lines report those with the cause and what follows.
///
/// `reconcile` is the target of [`reconcile_span`] alone: it is no line, but the ID on other lines.
const ALWAYS: [&str; 3] = ["kube_client::client=error", "kube_client::client::builder=off", "reconcile=error"];

/// What was done is always logged, unless the user's own directive says `audit=off`.
const AUDIT: &str = "audit=info";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

impl LogFormat {
    /// `Human` on a terminal, `Json` elsewhere.
    pub fn detect() -> Self {
        if io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// Checked log directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a text is not a log filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a list of log directives such as info,fdi_operator=debug ({problem})")]
pub struct InvalidFilter {
    text: String,
    problem: String,
}

impl FromStr for LogFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(InvalidFilter { text: text.to_owned(), problem: error.to_string() }),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LogFilter {
    fn build(&self) -> EnvFilter {
        ALWAYS
            .iter()
            .filter_map(|text| text.parse().ok())
            .fold(EnvFilter::new(format!("{AUDIT},{}", self.0)), EnvFilter::add_directive)
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    pub filter: LogFilter,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: LogFilter("info".to_owned()) }
    }
}

/// Starts logging. A second call changes nothing.
pub fn init(settings: &LogSettings) {
    let subscriber = subscriber(settings, io::stderr, io::stderr().is_terminal());
    // Fails only if there is a subscriber already, as in tests that start the operator twice.
    let _ = tracing::dispatcher::set_global_default(subscriber);
    std::panic::set_hook(Box::new(log_panic));
}

/// The span of one reconcile. It gives each line that is logged in it a `reconcile_id`, which is
/// random, so that no two processes share one.
pub fn reconcile_span() -> Span {
    let id: u64 = rand::random::<u64>() >> 16;
    tracing::error_span!(target: "reconcile", "reconcile", reconcile_id = %format_args!("{id:012x}"))
}

/// A panic is a log line like any other, in the format of the others.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("of unknown cause");
    let location = panic.location().map(ToString::to_string);
    tracing::error!(panic = message, location, backtrace = %Backtrace::capture(), "panicked: this is a bug, please report it");
}

fn subscriber<W>(settings: &LogSettings, writer: W, colours: bool) -> tracing::Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(settings.filter.build()).with_writer(writer);
    match settings.format {
        LogFormat::Human => builder.with_ansi(colours).into(),
        LogFormat::Json => builder.json().event_format(TopLevelJson).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let settings = LogSettings { format, filter: filter.parse().unwrap() };
        tracing::dispatcher::with_default(&subscriber(&settings, move || writer.clone(), false), log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn object_bodies_logged_by_the_kubernetes_client_stay_out_whatever_the_filter() {
        for filter in ["trace", "kube_client::client=trace", "kube_client=trace,info"] {
            let text = logged(filter, LogFormat::Json, || {
                tracing::warn!(target: "kube_client::client", "{{\"data\":\"c2VjcmV0\"}}");
                tracing::trace!(target: "kube_client::client", "Status from c2VjcmV0");
                tracing::error!(target: "kube_client::client::builder", "failed with error c2VjcmV0");
                tracing::info!("ours");
            });
            assert!(!text.contains("c2VjcmV0"), "{filter}: {text}");
        }
    }

    #[test]
    fn a_json_line_carries_the_fields_at_the_top_level() {
        let text =
            logged("info", LogFormat::Json, || tracing::info!(instance = "orders-roma", count = 10, "started tasks"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "started tasks");
        assert_eq!(line["instance"], "orders-roma");
        assert_eq!(line["count"], 10);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_fields_of_the_span_are_at_the_top_level_too_and_the_event_comes_first() {
        let text = logged("info", LogFormat::Json, || {
            let span = tracing::info_span!("worker", namespace = "etl", fdiinstance = "roma", code = "outer");
            span.in_scope(|| tracing::info!(request_id = "r-1", code = Some("inner"), count = 3, "a \"request\""));
        });
        assert!(text.starts_with(r#"{"timestamp":""#) && text.ends_with("}\n"), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (field, value) in [
            ("namespace", "etl"),
            ("fdiinstance", "roma"),
            ("request_id", "r-1"),
            ("code", "inner"),
            ("message", "a \"request\""),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
        assert_eq!(line["count"], 3);
    }

    #[test]
    fn calls_are_logged_whatever_the_filter_unless_it_names_them() {
        let audit = || tracing::info!(target: "audit", "call");
        for (filter, lines) in
            [("info", 1), ("warn", 1), ("fdi_operator=debug", 1), ("audit=off", 0), ("off,audit=off", 0)]
        {
            assert_eq!(logged(filter, LogFormat::Json, audit).lines().count(), lines, "{filter}");
        }
    }

    #[test]
    fn the_lines_of_one_reconcile_share_an_id_whatever_the_filter() {
        for (filter, lines) in [("info", 3), ("warn", 2), ("off,audit=info", 1), ("audit=off,fdi_operator=debug", 2)] {
            let mut ids = Vec::new();
            for _ in 0..2 {
                let text = logged(filter, LogFormat::Json, || {
                    reconcile_span().in_scope(|| {
                        tracing::info!("one");
                        tracing::warn!("two");
                        tracing::info!(target: "audit", "call");
                    });
                });
                let found = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                let mut found: Vec<_> = found.map(|line| line["reconcile_id"].as_str().unwrap().to_owned()).collect();
                assert_eq!(found.len(), lines, "{filter}: {text}");
                found.dedup();
                assert!(matches!(&found[..], [id] if id.len() == 12), "{filter}: {text}");
                ids.append(&mut found);
            }
            assert_ne!(ids[0], ids[1]);
        }
    }

    #[test]
    fn a_panic_is_a_line_of_the_log_with_its_place() {
        let text = logged("info", LogFormat::Json, || {
            let former = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let _ = std::panic::catch_unwind(|| panic!("on {}", "purpose"));
            std::panic::set_hook(former);
        });
        let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!((&line["level"], &line["panic"]), (&"ERROR".into(), &"on purpose".into()));
        assert!(line["location"].as_str().unwrap().starts_with("src/telemetry.rs:"), "{line}");
    }

    #[test]
    fn a_human_line_has_no_escape_codes_off_a_terminal() {
        let text = logged("info", LogFormat::Human, || tracing::info!(count = 10, "started tasks"));
        assert!(text.contains("started tasks count=10") && !text.contains('\u{1b}'), "{text}");
    }
}
