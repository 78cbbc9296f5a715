//! `ListMonitorInfos`, `ListMonitorLog` and `ShowMonitorLogDetail`: how runs go and went.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::clock::Millis;
use crate::policy::{MonitorFields, MonitorOffset, MonitorOrder, Policies};
use crate::signature::{query_pairs, sha256_hex};
use crate::task::{LastRun, Task, TaskMode, TaskRun, TaskType};
use crate::wire::Refusal;

mod detail;

use detail::{position, position_status, remarks, steps};

/// Most entries of one page of these two calls.
const PAGE_CAP: usize = 999;
const DEFAULT_LIMIT: usize = 10;

/// The query of either list, checked. Unlike the task list, offsets begin with 1.
#[derive(Debug, Default)]
struct MonitorQuery {
    offset: Option<usize>,
    limit: Option<usize>,
    task_name: Option<String>,
    execute_status: Option<LastRun>,
    begin_time: Option<Millis>,
    end_time: Option<Millis>,
}

impl MonitorQuery {
    /// Unknown parameters are ignored; a value outside its bounds is refused with FDI.3033.
    fn parse(raw: &str) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (name, value) in query_pairs(raw) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let value = String::from_utf8_lossy(&value).into_owned();
            let invalid = || Refusal::invalid_parameter(&name);
            match name.as_str() {
                "offset" => {
                    query.offset = Some(usize::from_str(&value).ok().filter(|&offset| offset > 0).ok_or_else(invalid)?);
                }
                "limit" => query.limit = Some(usize::from_str(&value).map_err(|_| invalid())?),
                "task_name" => query.task_name = Some(value),
                "execute_status" => {
                    query.execute_status = Some(serde_json::from_value(value.into()).map_err(|_| invalid())?);
                }
                "begin_time" => query.begin_time = Some(Millis::from_str(&value).map_err(|_| invalid())?),
                "end_time" => query.end_time = Some(Millis::from_str(&value).map_err(|_| invalid())?),
                _ => {}
            }
        }
        Ok(query)
    }

    /// The answer: the page of `found` that is asked for.
    fn page(&self, found: &[Value], policies: &Policies) -> Value {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT).min(PAGE_CAP);
        let before = self.offset.unwrap_or(1) - 1;
        let skipped = match policies.monitor_offset {
            MonitorOffset::Record => before,
            MonitorOffset::Page => before.saturating_mul(limit),
        };
        let entities: Vec<&Value> = found.iter().skip(skipped).take(limit).collect();
        spelled(json!({"total": found.len(), "size": entities.len(), "entities": entities}), policies)
    }
}

/// `ListMonitorInfos`.
pub(crate) fn infos(tasks: &[Task], instance: &str, query: &str, policies: &Policies) -> Result<Value, Refusal> {
    let query = MonitorQuery::parse(query)?;
    let wanted = |task: &&Task| {
        query.task_name.as_ref().is_none_or(|part| task.name.contains(part.as_str()))
            && query.execute_status.is_none_or(|state| task.last_run == state)
    };
    let found: Vec<Value> = tasks.iter().filter(wanted).map(|task| info(task, instance)).collect();
    Ok(query.page(&found, policies))
}

/// `ListMonitorLog`.
pub(crate) fn logs(task: &Task, query: &str, policies: &Policies) -> Result<Value, Refusal> {
    let query = MonitorQuery::parse(query)?;
    let wanted = |run: &&TaskRun| {
        query.begin_time.is_none_or(|begin| run.started_at >= begin)
            && query.end_time.is_none_or(|end| run.started_at <= end)
            && query.execute_status.is_none_or(|state| run.execute_status == state)
    };
    let mut found: Vec<Value> = task.runs().filter(wanted).map(|run| log(task, run)).collect();
    if policies.monitor_order == MonitorOrder::NewestFirst {
        found.reverse();
    }
    Ok(query.page(&found, policies))
}

/// `ShowMonitorLogDetail`.
pub(crate) fn log_detail(task: &Task, tracking_id: &str, policies: &Policies) -> Result<Value, Refusal> {
    let run = task.runs().find(|run| run_id(task, run) == tracking_id);
    let run = run.ok_or_else(|| Refusal::invalid_parameter("tracking_id"))?;
    Ok(spelled(json!({"id": tracking_id, "dirty_data_count": 0, "detail_logs": steps(task, run)}), policies))
}

/// The tracking ID of a run.
pub(crate) fn run_id(task: &Task, run: &TaskRun) -> String {
    sha256_hex(format!("run {} of {}", run.number, task.id).as_bytes())[..32].to_owned()
}

/// `TaskMonitorInfo`.
fn info(task: &Task, instance: &str) -> Value {
    let newest = task.runs().next_back();
    let mut info = json!({
        "task_id": task.id,
        "task_name": task.name,
        "task_type": task.kind,
        "status": u8::from(task.running),
        "last_execute_time": newest.map(|run| run.started_at),
        "position": newest.map(|run| position(run.code)),
        "execute_status": task.last_run,
        "source_app_id": task.source_app_id,
        "source_app_name": task.source_app_id,
        "source_instance_id": instance,
        "target_app_id": task.target_app_id,
        "target_app_name": task.target_app_id,
        "target_instance_id": instance,
        "ext_type": (task.mode == TaskMode::Cdc).then_some("CDC"),
        "enterprise_project_id": "0",
        "task_tag": task.task_tag,
    });
    if task.kind == TaskType::Timing {
        info["use_quartz_cron"] = json!(false);
        info["period"] = json!("HOUR");
        info["dispatch_interval"] = json!(1);
    }
    info
}

/// `TaskMonitorLog`.
fn log(task: &Task, run: &TaskRun) -> Value {
    let spent = run.ended_at.map(|ended_at| ended_at - run.started_at);
    let rows = if run.execute_status == LastRun::Success { 100 } else { 0 };
    let mut log = json!({
        "id": run_id(task, run),
        "start_time": run.started_at,
        "dispatch_time": run.started_at,
        "end_time": run.ended_at,
        "execute_status": run.execute_status,
        "position": position(run.code),
        "position_status": position_status(run),
        "status": run.code,
        "dirty_data_count": 0,
        "data_count": rows,
        "data_size": f64::from(rows) / 8.0,
        "data_size_unit": "KB",
        "spend_time": spent,
        "write_spend_time": spent.map(|spent| spent / 2),
        "remarks": remarks(run.code),
        "detail_logs": steps(task, run),
    });
    if task.kind == TaskType::Timing {
        log["read_spend_time"] = json!(spent.map(|spent| spent - spent / 2));
    }
    log
}

/// The same with its fields spelled as the policy says.
fn spelled(value: Value, policies: &Policies) -> Value {
    match policies.monitor_fields {
        MonitorFields::SnakeCase => value,
        MonitorFields::CamelCase => in_camel_case(value),
    }
}

fn in_camel_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let renamed = fields.into_iter().map(|(name, value)| (camel_case(&name), in_camel_case(value)));
            Value::Object(renamed.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(in_camel_case).collect()),
        value => value,
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut joined = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        joined.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        joined.push_str(letters.as_str());
    }
    joined
}
