//! What a run's code means: where the run was, how that step ended, and in which words.

use serde_json::{Value, json};

use crate::task::{LastRun, Task, TaskRun};

/// Codes of the reader are 100–499, those of the writer 500–899.
pub(super) fn position(code: u16) -> &'static str {
    match code {
        100..=499 => "READER",
        500..=899 => "WRITER",
        _ => "ADAPTER",
    }
}

pub(super) fn position_status(run: &TaskRun) -> &'static str {
    match (run.execute_status, run.code) {
        (LastRun::Unstarted | LastRun::Waiting | LastRun::Running, _) => "NORMAL",
        (LastRun::Success, _) => "TASK_END",
        (LastRun::Cancelled, _) => "RUNTIME_CANCEL",
        (LastRun::Error, 911..=916) => "INTERNAL_ERR",
        (LastRun::Error, _) => "RUNTIME_ERR",
    }
}

/// The documented meaning of a code.
pub(super) fn remarks(code: u16) -> &'static str {
    match code {
        16 => "The task was forcibly cancelled.",
        102 => "Reading data.",
        103 => "The source is faulty.",
        105 => "Zero rows were read.",
        107 => "Reading was interrupted.",
        503 => "The target is faulty.",
        506 => "Writing was interrupted.",
        900 => "The schedule request was received.",
        901 => "The run is finished.",
        904 => "Data is missing and being compensated for.",
        906 => "Reading is queued for platform resources.",
        907 => "Reading was rejected: the previous schedule is not finished.",
        908 => "Writing is queued for platform resources.",
        909 => "Writing was rejected: the previous schedule is not finished.",
        911 => "Reading did not start properly.",
        912 => "Writing did not start properly.",
        913 => "The schedule request failed.",
        914 => "The task was rejected: the previous schedule is not finished.",
        915 => "The task is not running normally.",
        916 => "Logs could not be reported.",
        _ => "",
    }
}

/// The `TaskMonitorDetailLog`s of a run: the reader and, when the run came so far, the writer; for
/// codes of neither, the adapter.
pub(super) fn steps(task: &Task, run: &TaskRun) -> Vec<Value> {
    const READING_ENDED: u16 = 101;
    const WRITING_ENDED: u16 = 501;
    let ended = |position, code| step(task, run, position, (code, "NODE_END"));
    let last = |position| step(task, run, position, (run.code, position_status(run)));
    match (run.execute_status, position(run.code)) {
        (LastRun::Success, _) => vec![ended("READER", READING_ENDED), ended("WRITER", WRITING_ENDED)],
        (_, "WRITER") => vec![ended("READER", READING_ENDED), last("WRITER")],
        (_, position) => vec![last(position)],
    }
}

fn step(task: &Task, run: &TaskRun, position: &str, (code, status): (u16, &str)) -> Value {
    let stage = match position {
        "READER" => "rdbreader",
        "WRITER" => "rdbwriter",
        _ => "adapter",
    };
    json!({
        "id": format!("{}-{stage}", super::run_id(task, run)),
        "status": code,
        "position": position,
        "position_status": status,
        "stage": stage,
        "dirty_data_count": 0,
        "data_count": 0,
        "data_size": 0.0,
        "data_size_unit": "KB",
        "spend_time": run.ended_at.map(|ended_at| ended_at - run.started_at),
        "remarks": remarks(code),
        "step_begin_time": run.started_at,
        "step_end_time": run.ended_at,
    })
}
