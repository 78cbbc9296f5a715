//! Step 2, I/O: signs in and lists the tasks, unless that was just done or must wait.

pub mod secret;
pub mod session;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::join;
use tokio::time::timeout;

use self::session::{Session, SignedIn, revision};
use crate::fdi::{Class, Connection, RequestLimiter};
use crate::reconcile::context::Context;
use crate::reconcile::desired::{Desired, DesiredInstance};
use crate::reconcile::duplicates::Standing;
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::failure::{InstanceError, Severity};
use crate::reconcile::observation::{Observed, TaskList};
use crate::time::backoff::add;

/// Lists the instance's tasks. A fresh list is not requested again; during a back-off only the
/// Secret is read, for a changed one may end it.
pub async fn observe(ctx: &Context, desired: &Desired, state: &InstanceState, session: &mut Session) -> Observed {
    let Some(instance) = desired.instance() else {
        session.end();
        return Observed { list: Some(Err(InstanceError::InstanceNotFound)), ..Observed::default() };
    };
    let uid = instance.object.metadata.uid.clone().unwrap_or_default();
    let mut observed = Observed { instance: Some(uid), ..Observed::default() };
    let serves = state.observation.list().is_some_and(|list| list.has(desired.attributes()));
    let fresh = serves && state.observation.is_fresh(ctx.clock.now()) && session.for_instance(instance).is_some();
    if fresh && ctx.duplicates.preferred(&ctx.key).is_none() {
        ctx.duplicates.record(&ctx.key, None, !desired.groups().is_empty());
        return observed;
    }
    // Every request in it has a limit of its own; together they must not hold up an edit for
    // minutes.
    let listing = sign_in_and_list(ctx, desired, state, session, &mut observed);
    let result = timeout(ctx.timings.observe_timeout, listing).await.unwrap_or(Err(InstanceError::TimedOut));
    // The list took its time: another instance may have come by its groups meanwhile.
    let result = result.and_then(|list| may_serve(ctx).map(|()| list));
    observed.list = result.transpose();
    if observed.list.as_ref().is_some_and(Result::is_err) {
        session.end();
    }
    let standing = standing(state, &observed, ctx);
    ctx.duplicates.record(&ctx.key, standing, !desired.groups().is_empty());
    observed
}

/// The list; `None` when it must not be requested yet.
async fn sign_in_and_list(
    ctx: &Context,
    desired: &Desired,
    state: &InstanceState,
    session: &mut Session,
    observed: &mut Observed,
) -> Result<Option<TaskList>, InstanceError> {
    let instance = desired.instance().ok_or(InstanceError::InstanceNotFound)?;
    let connection = connection(ctx, instance)?;
    let limiter = session.limiter(instance.object.spec.limits());
    let kept = session.for_instance(instance).filter(|_| !state.observation.is_failing()).cloned();
    let Some(kept) = kept else {
        let signed_in = sign_in(ctx, instance, &connection, &limiter).await?;
        let credential = signed_in.credential;
        observed.credential = Some(credential);
        session.begin(signed_in.clone());
        if !state.observation.may_list(credential, ctx.clock.now()) {
            return Ok(None);
        }
        return list(ctx, desired, state, &signed_in).await.map(Some);
    };
    if !kept.is_due(ctx.clock.now(), &ctx.timings) {
        observed.credential = Some(kept.credential);
        return list(ctx, desired, state, &kept).await.map(Some);
    }
    // The Secret is read again beside the list, so that the list does not wait for it.
    let (signed_in, listed) = join!(sign_in(ctx, instance, &connection, &limiter), list(ctx, desired, state, &kept));
    let signed_in = signed_in?;
    observed.credential = Some(signed_in.credential);
    session.begin(signed_in.clone());
    match listed {
        // What the service says of the old credential is no error of the new one.
        Err(InstanceError::Call(error)) if error.class == Class::SignIn && signed_in.credential != kept.credential => {
            list(ctx, desired, state, &signed_in).await.map(Some)
        }
        listed => listed.map(Some),
    }
}

/// Where the instance is, if this `FdiInstance` may serve it.
fn connection(ctx: &Context, instance: &DesiredInstance) -> Result<Connection, InstanceError> {
    let spec = &instance.object.spec;
    if let Some(error) = &spec.decode_error {
        return Err(InstanceError::undecodable(error));
    }
    let connection = spec.connection();
    ctx.fdi.identity(&connection).map_err(InstanceError::Call)?;
    may_serve(ctx)?;
    Ok(connection)
}

/// Fails where another `FdiInstance` serves the same ROMA instance.
fn may_serve(ctx: &Context) -> Result<(), InstanceError> {
    match ctx.duplicates.preferred(&ctx.key) {
        None => Ok(()),
        Some(other) => Err(InstanceError::duplicate(&ctx.key, &other)),
    }
}

async fn sign_in(
    ctx: &Context,
    instance: &DesiredInstance,
    connection: &Connection,
    limiter: &Arc<RequestLimiter>,
) -> Result<SignedIn, InstanceError> {
    let auth = &instance.object.spec.auth;
    let name = &secret::reference(auth)?.name;
    let read_at = ctx.clock.now();
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.key.namespace);
    let slot = ctx.secret_reads.acquire().await;
    let stored = secrets.get_opt(name).await;
    drop(slot);
    let stored = match stored {
        Ok(Some(stored)) => stored,
        Ok(None) => return Err(InstanceError::secret_not_found(name)),
        Err(error) => return Err(InstanceError::SecretUnreadable(secret::unreadable(name, &error))),
    };
    let sign_in = secret::sign_in(auth, name, stored)?;
    let credential = sign_in.fingerprint();
    let api = ctx.fdi.connect(connection, sign_in, limiter, ctx.metrics.clone()).map_err(InstanceError::Call)?;
    Ok(SignedIn { api, credential, read_at, instance: revision(instance) })
}

async fn list(
    ctx: &Context,
    desired: &Desired,
    state: &InstanceState,
    signed_in: &SignedIn,
) -> Result<TaskList, InstanceError> {
    let requested_at = ctx.clock.now();
    let known = state.observation.list().map(TaskList::tasks);
    let mut tasks = signed_in.api.list(desired.attributes(), known).await.map_err(InstanceError::Call)?;
    tasks.intern_ids(|id| desired.interned(id));
    Ok(TaskList::new(requested_at, tasks))
}

/// What the list says about whether this `FdiInstance` can serve; `None`: nothing new. An outage
/// says nothing: a duplicate that took over during one would send its own groups' calls in between.
fn standing(state: &InstanceState, observed: &Observed, ctx: &Context) -> Option<Standing> {
    match observed.list.as_ref()? {
        Ok(_) => {
            let rejected = state.observation.call_failure().is_some_and(|failure| {
                failure.error.severity() == Severity::Rejected
                    && ctx.clock.now() >= add(failure.reason_since, ctx.timings.rejected_grace)
            });
            Some(if rejected { Standing::Rejected } else { Standing::Serves })
        }
        Err(InstanceError::Duplicate(_)) => None,
        Err(error) => (error.severity() != Severity::Transient).then_some(Standing::Rejected),
    }
}
