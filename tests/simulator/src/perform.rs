//! How the service performs a request that reaches it.

use crate::clock::Millis;
use crate::iam;
use crate::policy::Monitoring;
use crate::route::Route;
use crate::service::{Acted, Arrival, MAX_BODY, Said};
use crate::sign_in::{Caller, authorize_project, not_authorized, sign_in, wrong_project};
use crate::signature::Signed;
use crate::wire::{Refusal, Speaker};
use crate::world::World;

const MAX_URI: usize = 32 * 1024;
const MAX_HEADER: usize = 32 * 1024;
const MAX_HEADERS: usize = 128 * 1024;

impl Arrival {
    /// Checks size, route, sign-in, project and instance, in this order, then performs the request.
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
        match &self.route {
            Route::Other => Err(no_such_api()),
            Route::Token => {
                let (token, body) = iam::issue(world, &self.body, now)?;
                Ok(Said::Token(token, body))
            }
            Route::Projects => {
                let caller = self.sign_in(world, None, now)?;
                Ok(Said::Json(200, iam::projects(world, self.query(), &caller.scope)))
            }
            Route::TokenCheck => {
                self.sign_in(world, None, now)?;
                let token = self.header("x-subject-token").and_then(|token| world.tokens.get(token));
                let token = token
                    .filter(|token| !token.revoked && token.expires_at > now)
                    .ok_or_else(|| Refusal::new(Speaker::IamToken, 404, "", "The token is not found."))?;
                Ok(Said::Json(200, iam::describe(token, &world.projects)))
            }
            Route::Fdi { project, instance, call } => {
                let policies = world.policies_of(project, instance).clone();
                acted.shape = policies.error_shape;
                if call.is_monitoring() && policies.monitoring == Monitoring::Missing {
                    return Err(no_such_api());
                }
                let caller = self.sign_in(world, Some((project, instance)), now)?;
                authorize_project(&caller.scope, project, &policies)?;
                if self.header("x-project-id").is_some_and(|named| named != project) {
                    return Err(wrong_project());
                }
                let forbidden = call.is_monitoring() && policies.monitoring == Monitoring::Forbidden;
                if forbidden || (call.operates() && caller.read_only) {
                    return Err(not_authorized(&policies));
                }
                self.fdi(world, (project, instance, call), now, acted)
            }
        }
    }

    /// Signs in at an instance, or at IAM.
    fn sign_in(&self, world: &mut World, at: Option<(&str, &str)>, now: Millis) -> Result<Caller, Refusal> {
        let found = at.and_then(|(project, instance)| world.find(project, instance));
        let accepted_keys = found.and_then(|found| found.accepted_keys.clone());
        let policies = found.and_then(|found| found.policies.as_ref()).unwrap_or(&world.policies).clone();
        let signed = Signed {
            method: self.parts.method.as_str(),
            path: self.parts.uri.path(),
            query: self.query(),
            headers: &self.headers,
            body: &self.body,
        };
        sign_in(world, &signed, accepted_keys.as_deref(), &policies, now)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
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

fn no_such_api() -> Refusal {
    Refusal::gateway(404, "APIGW.0101", "The API does not exist or has not been published in the environment.")
}
