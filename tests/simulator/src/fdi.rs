//! The operations of FDI.

use std::sync::Arc;

use serde_json::json;

use crate::clock::Millis;
use crate::count::count_answer;
use crate::fault::Effect;
use crate::list::ListQuery;
use crate::policy::{Policies, TerminateIdle, UnknownInstance};
use crate::route::FdiCall;
use crate::service::{Acted, Arrival, Said};
use crate::task::{Task, TaskType};
use crate::wire::{ListAnswer, Refusal, show_answer};
use crate::world::{Instance, World};
use crate::{batch, monitor};

impl Arrival {
    /// A request of FDI whose caller has signed in.
    pub fn fdi(
        &self,
        world: &mut World,
        (project, instance, call): (&str, &str, &FdiCall),
        now: Millis,
        acted: &mut Acted,
    ) -> Result<Said, Refusal> {
        let (found, policies) = settled(world, (project, instance), now)?;
        let json = |body| Said::Json(200, body);
        match call {
            FdiCall::List => self.list(world, (project, instance), now).map(Said::List),
            FdiCall::Batch => {
                let done = batch::operate(found, &policies, &self.body, now);
                acted.told = done.told;
                acted.applied = done.applied;
                done.answer.map(Said::Batch)
            }
            FdiCall::Show { task } => Ok(json(show_answer(known(found, task)?, project))),
            FdiCall::Run { task } => {
                let task = known(found, task)?;
                if task.kind == TaskType::Realtime {
                    return Err(Refusal::fdi(400, "FDI.3026", "Failed to manually start the task."));
                }
                task.run_by_hand(now, &policies);
                acted.applied = vec![Arc::clone(&task.id)];
                Ok(Said::Empty)
            }
            FdiCall::Terminate { task } => {
                let task = known(found, task)?;
                if task.terminate(now) {
                    acted.applied = vec![Arc::clone(&task.id)];
                } else if policies.terminate_idle == TerminateIdle::Fdi3027 {
                    return Err(Refusal::fdi(400, "FDI.3027", "Failed to manually stop the task."));
                }
                Ok(json(json!({"message": "success"})))
            }
            FdiCall::Count => Ok(json(count_answer(&found.tasks))),
            FdiCall::MonitorInfos => monitor::infos(&found.tasks, instance, self.query(), &policies).map(json),
            FdiCall::MonitorLogs { task } => monitor::logs(known(found, task)?, self.query(), &policies).map(json),
            FdiCall::MonitorLogDetail { task, run } => {
                monitor::log_detail(known(found, task)?, run, &policies).map(json)
            }
        }
    }

    /// One page of the task list.
    fn list(&self, world: &mut World, at: (&str, &str), now: Millis) -> Result<ListAnswer, Refusal> {
        let (found, policies) = settled(world, at, now)?;
        let query = ListQuery::parse(self.query(), &policies)?;
        let lagging: Option<Vec<Task>> = self.effects.iter().find_map(|(_, effect)| match effect {
            Effect::StaleFor { ms } => {
                let at = now.saturating_sub(Millis::try_from(*ms).unwrap_or(Millis::MAX));
                Some(found.tasks.iter().filter_map(|task| task.as_seen_at(at)).collect())
            }
            _ => None,
        });
        let remembering = self.effects.iter().find_map(|(id, effect)| effect.remembers().then_some(*id));
        let Some(id) = remembering else {
            return Ok(self.page(&query, lagging.as_ref().unwrap_or(&found.tasks), at.1, &policies));
        };
        let tasks = lagging.unwrap_or_else(|| found.tasks.clone());
        let fault = world.faults.iter_mut().find(|fault| fault.id == id);
        let remembered = fault.and_then(|fault| fault.remembered(&tasks));
        Ok(self.page(&query, remembered.as_ref().unwrap_or(&tasks), at.1, &policies))
    }

    fn page(&self, query: &ListQuery, tasks: &[Task], instance: &str, policies: &Policies) -> ListAnswer {
        let mut shown: Vec<&Task> = tasks.iter().collect();
        let mut crowd = 0;
        for (_, effect) in &self.effects {
            match effect {
                Effect::Omits { ids } => {
                    shown.retain(|task| !ids.is_empty() && ids.iter().all(|id| **id != *task.id));
                }
                Effect::Crowd { tasks } => crowd += tasks,
                _ => {}
            }
        }
        query.page(shown, crowd, instance, policies)
    }
}

/// The instance with everything done that is due by `now`, and its policies.
fn settled<'a>(
    world: &'a mut World,
    (project, instance): (&str, &str),
    now: Millis,
) -> Result<(&'a mut Instance, Policies), Refusal> {
    let unknown = unknown_instance(project, instance, world.policies_of(project, instance));
    world.settled(project, instance, now).ok_or(unknown)
}

fn known<'a>(instance: &'a mut Instance, task: &str) -> Result<&'a mut Task, Refusal> {
    instance.task_mut(task).ok_or_else(|| Refusal::fdi(404, "FDI.3081", "The task does not exist."))
}

fn unknown_instance(project: &str, instance: &str, policies: &Policies) -> Refusal {
    let status = match policies.unknown_instance {
        UnknownInstance::Fdi3002 => return Refusal::invalid(),
        UnknownInstance::Roma00110002 => 500,
        UnknownInstance::Roma00110002NotFound => 404,
    };
    let message = format!("The instance does not exist. project_id: {project}, instance_id: {instance}");
    // The device APIs name the request in the body, as the gateway does.
    Refusal::gateway(status, "ROMA.00110002", &message)
}
