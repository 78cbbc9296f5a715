//! `ListTasks`: filters, order and paging.

use std::str::FromStr;

use crate::policy::Policies;
use crate::signature::query_pairs;
use crate::task::{LastRun, NewTasks, Task, TaskMode, TaskType};
use crate::wire::{BriefTask, ListAnswer, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortField {
    Created,
    Status,
}

/// The query of a list request, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
    offset: usize,
    task_id: Option<String>,
    name: Option<String>,
    running: Option<bool>,
    kind: Option<TaskType>,
    mode: Option<TaskMode>,
    last_run: Option<LastRun>,
    source_datasource: Option<String>,
    target_datasource: Option<String>,
    datasource: Option<String>,
    source_app: Option<String>,
    target_app: Option<String>,
    tag: Option<String>,
    sort: Option<SortField>,
    descending: bool,
}

impl ListQuery {
    /// Unknown parameters are ignored; a value outside its enumeration is refused with FDI.3033.
    pub(crate) fn parse(raw: &str, policies: &Policies) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (name, value) in query_pairs(raw) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let value = String::from_utf8_lossy(&value).into_owned();
            let invalid = || Refusal::invalid_parameter(&name);
            match name.as_str() {
                "limit" => {
                    query.limit = Some(usize::from_str(&value).ok().filter(|&limit| limit > 0).ok_or_else(invalid)?);
                }
                // A negative offset counts as 0 (old page).
                "offset" => {
                    let offset = i64::from_str(&value).map_err(|_| invalid())?;
                    query.offset = usize::try_from(offset.max(0)).map_err(|_| invalid())?;
                }
                "task_id" => query.task_id = Some(value),
                "status" => {
                    query.running = Some(match value.as_str() {
                        "0" => false,
                        "1" => true,
                        _ => return Err(invalid()),
                    });
                }
                "task_type" => {
                    query.kind = Some(match value.as_str() {
                        "realtime" => TaskType::Realtime,
                        "timing" => TaskType::Timing,
                        _ => return Err(invalid()),
                    });
                }
                "task_mode" => query.mode = Some(one_of(&value).ok_or_else(invalid)?),
                "execute_status" => query.last_run = Some(one_of(&value).ok_or_else(invalid)?),
                "source_datasource_id" => query.source_datasource = Some(value),
                "target_datasource_id" => query.target_datasource = Some(value),
                "datasource_id" => query.datasource = Some(value),
                "source_app_id" => query.source_app = Some(value),
                "target_app_id" => query.target_app = Some(value),
                "task_tag" => query.tag = Some(value),
                "sort_field" => {
                    query.sort = Some(match value.as_str() {
                        "CREATED_DATE" => SortField::Created,
                        "STATUS" => SortField::Status,
                        _ => return Err(invalid()),
                    });
                }
                "sort_type" => {
                    query.descending = match value.as_str() {
                        "ASC" => false,
                        "DESC" => true,
                        _ => return Err(invalid()),
                    };
                }
                other if policies.name_filter.accepts(other) => query.name = Some(value),
                _ => {}
            }
        }
        Ok(query)
    }

    fn wants(&self, task: &Task) -> bool {
        fn is(wanted: Option<&String>, value: &str) -> bool {
            wanted.is_none_or(|wanted| wanted == value)
        }
        is(self.task_id.as_ref(), &task.id)
            && self.name.as_ref().is_none_or(|part| task.name.contains(part.as_str()))
            && self.running.is_none_or(|running| task.running == running)
            && self.kind.is_none_or(|kind| task.kind == kind)
            && self.mode.is_none_or(|mode| task.mode == mode)
            && self.last_run.is_none_or(|last_run| task.last_run == last_run)
            && is(self.source_datasource.as_ref(), &task.source_datasource_id)
            && is(self.target_datasource.as_ref(), &task.target_datasource_id)
            && (is(self.datasource.as_ref(), &task.source_datasource_id)
                || is(self.datasource.as_ref(), &task.target_datasource_id))
            && is(self.source_app.as_ref(), &task.source_app_id)
            && is(self.target_app.as_ref(), &task.target_app_id)
            && is(self.tag.as_ref(), task.task_tag.as_deref().unwrap_or_default())
    }

    /// One page. `tasks` are in order of creation, which is the default order; `crowd` generated
    /// tasks follow them.
    pub(crate) fn page(&self, tasks: Vec<&Task>, crowd: usize, instance: &str, policies: &Policies) -> ListAnswer {
        let mut found = tasks;
        found.retain(|task| self.wants(task));
        // Stable sorts: ties stay in order of creation, so that pages never overlap.
        match self.sort {
            Some(SortField::Status) => found.sort_by_key(|task| task.running),
            Some(SortField::Created) => found.sort_by_key(|task| task.created_at),
            None => {}
        }
        if self.descending {
            found.reverse();
        }
        let total = found.len() + if self.has_filter() { 0 } else { crowd };
        let limit = self.limit.unwrap_or(policies.default_limit).min(policies.page_cap);
        let end = self.offset.saturating_add(limit).min(total);
        let generated = self.offset.max(found.len())..end;
        let real = found.iter().skip(self.offset).take(limit).map(|task| BriefTask::new(task, instance));
        let entities: Vec<BriefTask> = real.chain(generated.map(|at| of_crowd(at, instance))).collect();
        ListAnswer {
            total: i64::try_from(total).unwrap_or(i64::MAX),
            size: i64::try_from(entities.len()).unwrap_or(i64::MAX),
            entities,
        }
    }

    fn has_filter(&self) -> bool {
        let Self { limit, offset, sort, descending, .. } = *self;
        *self != Self { limit, offset, sort, descending, ..Self::default() }
    }
}

/// A task of a crowd, by its place in the list.
fn of_crowd(at: usize, instance: &str) -> BriefTask {
    let task = Task::new(format!("{at:032x}").into(), format!("crowd-{at}"), &NewTasks::default(), 0);
    BriefTask { of_crowd: true, ..BriefTask::new(&task, instance) }
}

/// The value of an enumeration by its wire name.
fn one_of<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(name.into()).ok()
}
