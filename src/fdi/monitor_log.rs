//! Why the runs of a task fail, from its monitor log (`ListMonitorLog`).
//!
//! Neither the order of the log nor the spelling of its fields is documented, so both are read
//! either way. The log explains; nothing is decided by it.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::fdi::classify::{RequestContext, classify, malformed_response};
use crate::fdi::error::CallError;
use crate::fdi::error_codes::{Meaning, meaning};
use crate::fdi::json::{Malformed, Scalar};
use crate::fdi::list_page::ListPage;
use crate::fdi::text::{Redactor, single_line};
use crate::fdi::transport::HttpResponse;

/// Requested runs. A log has one entry for each.
const RUNS_MAX: usize = 100;

/// How long before its failure was observed a planned run may have begun.
const PLANNED_RUN_HOURS: i64 = 24;

/// Most bytes of a cause.
const CAUSE_MAX: usize = 256;

/// The query for the runs of a task that was observed to fail at `since`. The run of a real-time
/// task may have begun at any time before.
pub fn query(since: Timestamp, scheduled: bool) -> String {
    let mut query = format!("limit={RUNS_MAX}&offset=1");
    if scheduled {
        let begin = since.as_millisecond() - PLANNED_RUN_HOURS * 3_600_000;
        query.insert_str(0, &format!("begin_time={begin}&"));
    }
    query
}

/// Why the latest failed run failed; `None` when the log does not say.
///
/// # Errors
/// When there is no log to read. An error code of FDI itself is about this task only: its log says
/// nothing.
pub fn parse_cause(context: &RequestContext<'_>, response: &HttpResponse) -> Result<Option<String>, CallError> {
    if response.status != 200 {
        let error = classify(context, response);
        let about_task = matches!(meaning(&error.code), Meaning::SomeTask | Meaning::Fdi);
        return if about_task { Ok(None) } else { Err(error) };
    }
    let log = Log::decode(&response.body);
    let Ok(log) = log else { return Err(malformed_response(context, response, "its body is not a monitor log")) };
    Ok(log.latest_failure().map(|run| run.cause(context.redactor)))
}

#[derive(Debug, Default)]
struct Log<'a> {
    total: Option<usize>,
    runs: Vec<Run<'a>>,
}

/// One run (`TaskMonitorLog`), as far as it is used.
#[derive(Debug, Default)]
struct Run<'a> {
    execute_status: Scalar<'a>,
    start_time: Scalar<'a>,
    end_time: Scalar<'a>,
    status: Scalar<'a>,
    remarks: Scalar<'a>,
}

impl<'a> Log<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let page = ListPage::decode(body, RUNS_MAX, Run::add)?;
        let runs = page.entities.unwrap_or_default().into_iter().flatten().collect();
        Ok(Self { total: page.total.count().ok().flatten(), runs })
    }

    /// An incomplete page that begins with the oldest run lacks the latest.
    fn latest_failure(&self) -> Option<&Run<'a>> {
        let started = |run: Option<&Run<'_>>| run.and_then(Run::started);
        let ascending = started(self.runs.first()) < started(self.runs.last());
        let incomplete = self.total.is_some_and(|total| total > self.runs.len());
        let failed = self.runs.iter().filter(|run| run.has_failed());
        failed.max_by_key(|run| run.started()).filter(|_| !(ascending && incomplete))
    }
}

impl<'a> Run<'a> {
    /// Takes in one field.
    fn add(&mut self, field: &str, value: &'a RawValue) {
        match field {
            "execute_status" | "executeStatus" => self.execute_status.add(value),
            "start_time" | "startTime" => self.start_time.add(value),
            "end_time" | "endTime" => self.end_time.add(value),
            "status" => self.status.add(value),
            "remarks" => self.remarks.add(value),
            _ => {}
        }
    }

    fn has_failed(&self) -> bool {
        self.execute_status.text().is_some_and(|text| text.trim().eq_ignore_ascii_case("error"))
    }

    fn started(&self) -> Option<i64> {
        [&self.start_time, &self.end_time].into_iter().find_map(|time| time.text()?.trim().parse().ok())
    }

    /// `103 (the source is faulty): what the service adds`.
    fn cause(&self, redactor: &Redactor) -> String {
        let code = single_line(&redactor.redact(&self.status.text().unwrap_or_default()), 16);
        let remarks = single_line(&redactor.redact(&self.remarks.text().unwrap_or_default()), CAUSE_MAX);
        let known = code.parse().ok().and_then(code_meaning);
        let head = match (code.is_empty(), known) {
            (true, _) => "the service gives no code".to_owned(),
            (false, Some(known)) => format!("{code} ({known})"),
            (false, None) => code,
        };
        single_line(&if remarks.is_empty() { head } else { format!("{head}: {remarks}") }, CAUSE_MAX)
    }
}

/// What the documented codes of failed runs mean.
fn code_meaning(code: u16) -> Option<&'static str> {
    Some(match code {
        16 => "cancelled by force",
        103 => "fault of the source",
        106 => "reading cancelled by force",
        107 => "reading interrupted",
        503 => "fault of the target",
        505 => "writing cancelled by force",
        506 => "writing interrupted",
        904 => "data missing, being compensated",
        907 => "reading rejected: the run before has not ended",
        909 => "writing rejected: the run before has not ended",
        911 => "reading did not start properly",
        912 => "writing did not start properly",
        913 => "the schedule request failed",
        914 => "rejected: the run before has not ended",
        915 => "the task does not run normally",
        916 => "logs could not be reported",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdi::Operation;
    use crate::fdi::auth::sign_in::Method;

    fn cause(status: u16, body: &str) -> Result<Option<String>, CallError> {
        let redactor = Redactor::new(vec!["pass phrase".into()]);
        let context =
            RequestContext { operation: Operation::MonitorLog, method: Method::Token, redactor: &redactor, tasks: 1 };
        parse_cause(&context, &HttpResponse { status, body: body.as_bytes().to_vec(), ..HttpResponse::default() })
    }

    fn log(total: usize, runs: &[(u64, &str, u16)]) -> String {
        let run = |(start, how, code): &(u64, &str, u16)| {
            format!(r#"{{"start_time":{start},"execute_status":"{how}","status":{code},"remarks":null,"new":[1]}}"#)
        };
        let runs: Vec<String> = runs.iter().map(run).collect();
        format!(r#"{{"total":{total},"entities":[{}]}}"#, runs.join(","))
    }

    #[test]
    fn the_latest_failed_run_gives_the_cause_in_either_order() {
        let mut runs = [(3, "SUCCESS", 901), (2, "ERROR", 503), (1, "ERROR", 103)];
        for _ in 0..2 {
            assert_eq!(cause(200, &log(3, &runs)).unwrap().unwrap(), "503 (fault of the target)");
            runs.reverse();
        }
        assert_eq!(cause(200, &log(300, &runs)).unwrap().unwrap(), "503 (fault of the target)", "newest first");
        runs.reverse();
        assert_eq!(cause(200, &log(300, &runs)).unwrap(), None, "the latest is on a later page");
        assert_eq!(cause(200, &log(1, &[(3, "SUCCESS", 901)])).unwrap(), None);
        assert_eq!(cause(200, r#"{"total":0,"entities":null}"#).unwrap(), None);
    }

    #[test]
    fn the_service_s_words_are_one_bounded_line_without_secrets() {
        let entry = |code: &str, remarks: &str| {
            format!(
                r#"{{"entities":[{{"startTime":"1","executeStatus":"error","status":{code},"remarks":"{remarks}"}}]}}"#
            )
        };
        assert_eq!(
            cause(200, &entry("103", "login as x with pass phrase\\n failed")).unwrap().unwrap(),
            "103 (fault of the source): login as x with *** failed"
        );
        assert_eq!(cause(200, &entry("999", "")).unwrap().unwrap(), "999");
        assert_eq!(cause(200, &entry("null", "?")).unwrap().unwrap(), "the service gives no code: ?");
        assert_eq!(cause(200, &entry("1", &"x".repeat(900))).unwrap().unwrap().len(), CAUSE_MAX);
    }

    #[test]
    fn a_log_that_is_not_there_is_an_error_and_one_that_fdi_refuses_says_nothing() {
        let error = |code: &str| format!(r#"{{"error_code":"{code}","error_msg":"no"}}"#);
        assert_eq!(cause(400, &error("FDI.3021")).unwrap(), None);
        for (status, code) in [(403, "APIGW.0302"), (404, "APIGW.0101"), (400, "ROMA.1006"), (500, "FDI.9999")] {
            assert!(cause(status, &error(code)).is_err(), "{code}");
        }
        assert!(cause(200, "<html>").is_err());
    }

    #[test]
    fn the_runs_of_a_scheduled_task_are_requested_from_a_day_before_its_failure() {
        let since: Timestamp = "1970-01-02T00:00:01Z".parse().unwrap();
        assert_eq!(query(since, true), "begin_time=1000&limit=100&offset=1");
        assert_eq!(query(since, false), "limit=100&offset=1");
    }
}
