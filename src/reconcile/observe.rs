//! Step 2, I/O: reads the Secret, signs in and lists the tasks, unless that was just done or must wait.

mod secret;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::sync::Semaphore;

use super::{Desired, InstanceKey};
use crate::time::clock::Clock;
use crate::crd::{FdiInstanceSpec, RateLimit};
use crate::reconcile::duplicates::Duplicates;
use crate::fdi::{Connection, Fdi, FdiApi, Limits, Observer, Place};
use crate::reconcile::observation::{Problem, Severity, Sight, View};
use crate::reconcile::timings::Timings;

/// What observing needs from outside.
#[derive(Clone)]
pub struct Lookout {
    pub client: kube::Client,
    pub fdi: Fdi,
    pub clock: Clock,
    pub duplicates: Duplicates,
    /// Requests to the API server in flight over all instances.
    pub in_flight: Arc<Semaphore>,
    pub observer: Arc<dyn Observer>,
}

/// The signed-in client of the last look, and the limits that outlive it.
#[derive(Debug, Default)]
pub struct Session {
    api: Option<Arc<dyn FdiApi>>,
    limits: Option<(RateLimit, Arc<Limits>)>,
}

impl Session {
    /// The client to send calls with; none while signing in does not work.
    pub fn api(&self) -> Option<&Arc<dyn FdiApi>> {
        self.api.as_ref()
    }

    /// The limits in force: kept while the figures stay the same, so that a new look does not refill them.
    fn limits(&mut self, wanted: RateLimit) -> Arc<Limits> {
        match &self.limits {
            Some((figures, limits)) if *figures == wanted => Arc::clone(limits),
            _ => {
                let positive = |n: i32| u32::try_from(n).unwrap_or(1).max(1);
                let limits =
                    Arc::new(Limits::new(positive(wanted.requests_per_second), positive(wanted.max_concurrent_calls)));
                self.limits = Some((wanted, Arc::clone(&limits)));
                limits
            }
        }
    }
}

/// Looks at the instance and notes in `sight` what it saw or why it could not. A list under two seconds old with nothing
/// sent since is not asked for again; while trouble bars looks only the Secret is read, for a changed one may end it.
pub async fn observe(
    lookout: &Lookout,
    key: &InstanceKey,
    desired: &Desired,
    sight: &mut Sight,
    session: &mut Session,
    timings: &Timings,
) {
    if sight.fresh(lookout.clock.now(), timings) && session.api.is_some() && desired.instance().is_some() {
        return;
    }
    session.api = None;
    match sign_in(lookout, key, desired, sight, session).await {
        Ok(api) => {
            let now = lookout.clock.now();
            if sight.look_barred(now).is_some() {
                return;
            }
            match api.list().await {
                Ok(mut tasks) => {
                    // One text for each ID in memory: the one in the spec.
                    for task in &mut tasks {
                        if let Some(id) = desired.listed(&task.id) {
                            task.id = id.clone();
                        }
                    }
                    sight.saw(View::new(now, tasks));
                }
                Err(error) => sight.look_failed(Problem::Call(error), lookout.clock.now(), timings),
            }
            lookout.duplicates.tried(key, can_serve(sight.trouble().map(|trouble| &trouble.problem)));
            session.api = Some(api);
        }
        Err(problem) => {
            if !matches!(problem, Problem::Duplicate(_)) {
                lookout.duplicates.tried(key, can_serve(Some(&problem)));
            }
            let now = lookout.clock.now();
            sight.look_failed(problem, now, timings);
        }
    }
}

/// Whether this `FdiInstance` keeps the ROMA instance to itself. An outage says nothing about its sign-in: a twin that took
/// over for its length would call for other wishes in between.
fn can_serve(problem: Option<&Problem>) -> bool {
    problem.is_none_or(|problem| problem.severity() == Severity::Passing)
}

async fn sign_in(
    lookout: &Lookout,
    key: &InstanceKey,
    desired: &Desired,
    sight: &mut Sight,
    session: &mut Session,
) -> Result<Arc<dyn FdiApi>, Problem> {
    let instance = desired.instance().ok_or(Problem::InstanceNotFound)?;
    let spec = &instance.object.spec;
    if let Some(error) = &spec.unreadable {
        let message = format!("the stored spec cannot be read ({error}): apply it again in the form of this version");
        return Err(Problem::SpecInvalid(message));
    }
    let connection = connection(spec);
    let identity = lookout.fdi.identity(&connection).map_err(Problem::Call)?;
    if let Some(older) = lookout.duplicates.older(key, &instance.object, &identity) {
        return Err(Problem::Duplicate(format!(
            "FdiInstance {older} is older and serves the same ROMA Connect instance: point the groups at that one, or delete one of the two"
        )));
    }
    let reference = secret::reference(&spec.auth)?;
    let secrets: Api<Secret> = Api::namespaced(lookout.client.clone(), &key.namespace);
    let name = &reference.name;
    let place = lookout.in_flight.acquire().await;
    let stored = secrets.get_opt(name).await;
    drop(place);
    let stored = match stored {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            return Err(Problem::SecretNotFound(format!(
                "the Secret {name} does not exist in this namespace: create it"
            )));
        }
        Err(error) => return Err(Problem::SecretUnreadable(secret::unreadable(name, &error))),
    };
    let sign_in = secret::sign_in(&spec.auth, name, stored)?;
    sight.credential(sign_in.fingerprint(), lookout.clock.now());
    let limits = session.limits(spec.limits());
    lookout.fdi.connect(&connection, sign_in, &limits, Arc::clone(&lookout.observer)).map_err(Problem::Call)
}

/// Where an instance is, in the client's words.
pub fn connection(spec: &FdiInstanceSpec) -> Connection {
    let place = match (&spec.region, &spec.endpoint) {
        (Some(region), _) => Place::Region(region.clone()),
        (None, endpoint) => Place::Endpoint(endpoint.clone().unwrap_or_default()),
    };
    Connection {
        place,
        project_id: spec.project_id.clone(),
        instance_id: spec.instance_id.clone(),
        iam_endpoint: spec.iam_endpoint.clone(),
        ca_bundle: spec.ca_bundle.clone(),
    }
}

impl std::fmt::Debug for Lookout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookout").finish_non_exhaustive()
    }
}
