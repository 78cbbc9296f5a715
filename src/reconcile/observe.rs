//! Step 2, I/O: reads the Secret, signs in and lists the tasks, unless that was just done or must wait.

mod secret;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::crd::RateLimit;
use crate::fdi::{FdiApi, Fingerprint, RequestLimiter};
use crate::reconcile::context::Context;
use crate::reconcile::desired::Desired;
use crate::reconcile::observation::failure::{InstanceError, Severity};
use crate::reconcile::observation::{Observation, Observed, TaskList};

/// The signed-in client of the last list, and the limiter that outlives it.
#[derive(Debug, Default)]
pub struct Session {
    api: Option<Arc<dyn FdiApi>>,
    limiter: Option<(RateLimit, Arc<RequestLimiter>)>,
}

impl Session {
    /// The client to send calls with; none while signing in fails.
    pub fn api(&self) -> Option<&Arc<dyn FdiApi>> {
        self.api.as_ref()
    }

    /// The limiter in force: kept while its limits stay the same, so that a new sign-in does not refill it.
    fn limiter(&mut self, limits: RateLimit) -> Arc<RequestLimiter> {
        match &self.limiter {
            Some((known, limiter)) if *known == limits => Arc::clone(limiter),
            _ => {
                let positive = |n: i32| u32::try_from(n).unwrap_or(1).max(1);
                let limiter = Arc::new(RequestLimiter::new(
                    positive(limits.requests_per_second),
                    positive(limits.max_concurrent_calls),
                ));
                self.limiter = Some((limits, Arc::clone(&limiter)));
                limiter
            }
        }
    }
}

/// Lists the instance's tasks. A fresh list is not requested again; during a back-off only the Secret
/// is read, for a changed one may end it.
pub async fn observe(ctx: &Context, desired: &Desired, observation: &Observation, session: &mut Session) -> Observed {
    if observation.is_fresh(ctx.clock.now()) && session.api.is_some() && desired.instance().is_some() {
        return Observed::default();
    }
    session.api = None;
    let (api, credential) = match sign_in(ctx, desired, session).await {
        Ok(signed_in) => signed_in,
        Err(error) => {
            if !matches!(error, InstanceError::Duplicate(_)) {
                ctx.duplicates.record_sign_in(&ctx.key, can_serve(Some(&error)));
            }
            return Observed { credential: None, list: Some(Err(error)) };
        }
    };
    let requested_at = ctx.clock.now();
    if !observation.may_list(credential, requested_at) {
        return Observed { credential: Some(credential), list: None };
    }
    let list = match api.list().await {
        Ok(mut tasks) => {
            for task in &mut tasks {
                if let Some(id) = desired.interned(&task.id) {
                    task.id = id.clone();
                }
            }
            Ok(TaskList::new(requested_at, tasks))
        }
        Err(error) => Err(InstanceError::Call(error)),
    };
    ctx.duplicates.record_sign_in(&ctx.key, can_serve(list.as_ref().err()));
    session.api = Some(api);
    Observed { credential: Some(credential), list: Some(list) }
}

/// Whether this `FdiInstance` keeps the ROMA instance to itself. An outage says nothing about its
/// sign-in: a duplicate that took over during one would send its own groups' calls in between.
fn can_serve(error: Option<&InstanceError>) -> bool {
    error.is_none_or(|error| error.severity() == Severity::Transient)
}

async fn sign_in(
    ctx: &Context,
    desired: &Desired,
    session: &mut Session,
) -> Result<(Arc<dyn FdiApi>, Fingerprint), InstanceError> {
    let instance = desired.instance().ok_or(InstanceError::InstanceNotFound)?;
    let spec = &instance.object.spec;
    if let Some(error) = &spec.decode_error {
        let message =
            format!("the stored spec cannot be decoded ({error}): apply it again in the form of this version");
        return Err(InstanceError::SpecInvalid(message));
    }
    let connection = spec.connection();
    let identity = ctx.fdi.identity(&connection).map_err(InstanceError::Call)?;
    if let Some(preferred) = ctx.duplicates.preferred(&ctx.key, &instance.object, &identity) {
        return Err(InstanceError::Duplicate(format!(
            "the FdiInstance \"{preferred}\" is older and serves the same ROMA Connect instance: \
             refer to that one in the groups, or delete one of the two"
        )));
    }
    let name = &secret::reference(&spec.auth)?.name;
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.key.namespace);
    let slot = ctx.api_requests.acquire().await;
    let stored = secrets.get_opt(name).await;
    drop(slot);
    let stored = match stored {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            return Err(InstanceError::SecretNotFound(format!("this namespace has no Secret \"{name}\": create it")));
        }
        Err(error) => return Err(InstanceError::SecretUnreadable(secret::unreadable(name, &error))),
    };
    let sign_in = secret::sign_in(&spec.auth, name, stored)?;
    let credential = sign_in.fingerprint();
    let limiter = session.limiter(spec.limits());
    let api = ctx.fdi.connect(&connection, sign_in, &limiter, ctx.metrics.clone()).map_err(InstanceError::Call)?;
    Ok((api, credential))
}
