//! Log lines as JSON: one object for each, with all fields at the top level, those of spans too. So
//! `namespace` is a field of every line that has one, whoever wrote the line.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats an event.
pub struct TopLevelJson;

impl<S> FormatEvent<S, JsonFields> for TopLevelJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let text = extensions.get::<FormattedFields<JsonFields>>().map_or("{}", |fields| fields.fields.as_str());
            for (name, value) in serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default() {
                // What is said nearest to the event counts.
                fields.entry(name).or_insert(value);
            }
        }
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        write!(writer, r#"{{"timestamp":{},"level":"{}""#, Value::from(time), metadata.level())?;
        // The message first, for those who read the lines as they are.
        let message = fields.remove("message");
        let target = ("target".to_owned(), Value::from(metadata.target()));
        for (name, value) in
            message.map(|message| ("message".to_owned(), message)).into_iter().chain(fields).chain([target])
        {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
