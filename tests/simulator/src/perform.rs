//! What the service does with a request that reaches it, and what it has to say.

use crate::clock::Millis;
use crate::fault::Effect;
use crate::list::ListQuery;
use crate::policy::{Policies, UnknownInstance};
use crate::route::Route;
use crate::service::{Acted, Arrival, MAX_BODY, Said};
use crate::sign_in::{permit, sign_in, wrong_project};
use crate::signature::Signed;
use crate::task::Task;
use crate::wire::{ListAnswer, Refusal, Speaker, show_answer};
use crate::world::World;
use crate::{batch, iam};

const MAX_URI: usize = 32 * 1024;
const MAX_HEADER: usize = 32 * 1024;
const MAX_HEADERS: usize = 128 * 1024;

impl Arrival {
    /// Done by the service: size limits, route, sign-in, project, instance, request; in this order.
    pub fn perform(&self, world: &mut World, now: Millis, acted: &mut Acted) -> Said {
        let said = self.checked(world, now, acted).unwrap_or_else(Said::Refused);
        if let Said::Refused(refusal) = &said
            && !refusal.code.is_empty()
        {
            acted.error_code = Some(refusal.code.clone());
        }
        said
    }

    fn checked(&self, world: &mut World, now: Millis, acted: &mut Acted) -> Result<Said, Refusal> {
        self.check_size()?;
        if let Route::Token = self.route {
            let (token, body) = iam::issue(world, &self.body, now)?;
            return Ok(Said::Token(token, body));
        }
        if let Route::Other = self.route {
            return Err(Refusal::gateway(
                404,
                "APIGW.0101",
                "The API does not exist or has not been published in the environment.",
            ));
        }
        let policies = match (self.route.project(), self.route.instance()) {
            (Some(project), Some(instance)) => world.policies_of(project, instance).clone(),
            _ => world.policies.clone(),
        };
        acted.shape = policies.error_shape;
        let signed = Signed {
            method: self.parts.method.as_str(),
            path: self.parts.uri.path(),
            query: self.query(),
            headers: &self.headers,
            body: &self.body,
        };
        let scope = sign_in(world, &signed, &policies, now)?;
        let header = |name: &str| self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if let Some(project) = self.route.project() {
            permit(&scope, project, &policies)?;
            if header("x-project-id").is_some_and(|named| named != project) {
                return Err(wrong_project());
            }
        }
        match &self.route {
            Route::Projects => Ok(Said::Json(200, iam::projects(world, self.query(), &scope))),
            Route::TokenCheck => {
                let token = header("x-subject-token").and_then(|token| world.tokens.get(token));
                let token = token
                    .filter(|token| !token.revoked && token.expires_at > now)
                    .ok_or_else(|| Refusal::new(Speaker::IamToken, 404, "", "The token is not found."))?;
                Ok(Said::Json(200, iam::describe(token, &world.projects)))
            }
            Route::Batch { project, instance } => {
                let found = world.settled(project, instance, now);
                let (found, _) = found.ok_or_else(|| unknown_instance(project, instance, &policies))?;
                let done = batch::operate(found, &policies, &self.body, now);
                acted.told = done.told;
                acted.applied = done.applied;
                done.answer.map(Said::Batch)
            }
            Route::List { project, instance } => self.list(world, project, instance, &policies, now).map(Said::List),
            Route::Show { project, instance, task } => {
                let found = world.settled(project, instance, now);
                let (found, _) = found.ok_or_else(|| unknown_instance(project, instance, &policies))?;
                let task = found.task(task).ok_or_else(|| Refusal::fdi(404, "FDI.3081", "The task does not exist."))?;
                Ok(Said::Json(200, show_answer(task, project)))
            }
            Route::Token | Route::Other => Err(Refusal::invalid()),
        }
    }

    fn list(
        &self,
        world: &mut World,
        project: &str,
        instance: &str,
        policies: &Policies,
        now: Millis,
    ) -> Result<ListAnswer, Refusal> {
        let found = world.settled(project, instance, now);
        let (found, _) = found.ok_or_else(|| unknown_instance(project, instance, policies))?;
        let query = ListQuery::parse(self.query(), policies)?;
        let lagging: Option<Vec<Task>> = self.effects.iter().find_map(|(_, effect)| match effect {
            Effect::StaleFor { ms } => {
                let at = now.saturating_sub(Millis::try_from(*ms).unwrap_or(Millis::MAX));
                Some(found.tasks.iter().filter_map(|task| task.as_seen_at(at)).collect())
            }
            _ => None,
        });
        let remembers = |effect: &Effect| matches!(effect, Effect::StaleBy { .. } | Effect::Frozen);
        let Some((id, _)) = self.effects.iter().find(|(_, effect)| remembers(effect)) else {
            return Ok(query.page(lagging.as_ref().unwrap_or(&found.tasks), instance, policies));
        };
        let tasks = lagging.unwrap_or_else(|| found.tasks.clone());
        let fault = world.faults.iter_mut().find(|fault| fault.id == *id);
        let remembered = fault.and_then(|fault| fault.remembered(&tasks));
        Ok(query.page(remembered.as_ref().unwrap_or(&tasks), instance, policies))
    }

    fn check_size(&self) -> Result<(), Refusal> {
        let length = |(name, value): &(String, String)| name.len() + value.len();
        if self.body.len() > MAX_BODY {
            Err(Refusal::gateway(413, "APIGW.0201", "Request entity too large."))
        } else if self.parts.uri.path().len() + self.query().len() > MAX_URI {
            Err(Refusal::gateway(414, "APIGW.0201", "Request URI too large."))
        } else if self.headers.iter().any(|header| length(header) > MAX_HEADER)
            || self.headers.iter().map(length).sum::<usize>() > MAX_HEADERS
        {
            Err(Refusal::gateway(494, "APIGW.0201", "Request headers too large."))
        } else {
            Ok(())
        }
    }
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
