//! The typed controls: the methods behind `/_sim/…`. All are synchronous and wake every waiting
//! condition.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::clock::{Clock, Millis, millis};
use crate::fault::{ActiveFault, Effect, Fault, Trigger};
use crate::instance::InstanceHandle;
use crate::log::{Counts, Entry, Filter};
use crate::policy::Policies;
use crate::service::{Reply, Shared};
use crate::sign_in::{AccessKey, HeldKey, Token, User};
use crate::task::Task;
use crate::world::World;
use crate::{iam, server};

/// The controls of a simulator. Cheap to clone; all clones control the same simulator.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// The condition did not become true in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut(pub Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the condition did not become true within {:?}", self.0)
    }
}

impl std::error::Error for TimedOut {}

/// The state of the simulator at one moment, for conditions.
#[derive(Debug)]
pub struct View<'a> {
    world: &'a mut World,
    now: Millis,
}

impl View<'_> {
    /// The whole call log.
    pub fn log(&self) -> &[Entry] {
        &self.world.log
    }

    /// The tasks of an instance as they are now; empty when there is no such instance.
    pub fn tasks(&mut self, project: &str, instance: &str) -> &[Task] {
        self.world.settled(project, instance, self.now).map_or(&[], |(found, _)| &found.tasks)
    }
}

impl Handle {
    /// A simulator without sockets: see [`Handle::handle`] and [`Handle::router`].
    pub fn new(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared::new(clock, false, true)) }
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Answers one request at the clock's present time, without sockets and without waiting: the
    /// reply holds the latencies and the delivery that faults ask for. `None` when connections are
    /// refused.
    pub fn handle(&self, request: Request<Bytes>) -> Option<Reply> {
        let arrival = self.shared.arrive(request)?;
        let mut reply = self.shared.act(&arrival);
        reply.delay_ms += arrival.delay_ms;
        if !matches!(reply.delivery, crate::Delivery::Cut | crate::Delivery::Hang) {
            self.shared.answered(arrival.seq);
        }
        Some(reply)
    }

    /// The services and the control API as a router, for use without sockets. A cut connection is a
    /// response with [`crate::Cut`] among its extensions.
    pub fn router(&self) -> axum::Router {
        server::router(self)
    }

    /// The instance; created when it does not exist.
    pub fn instance(&self, project: &str, instance: &str) -> InstanceHandle {
        self.shared.change(|world, _| {
            world.instance(project, instance);
        });
        InstanceHandle { handle: self.clone(), project: project.to_owned(), instance: instance.to_owned() }
    }

    /// The instance, if it exists.
    pub fn find_instance(&self, project: &str, instance: &str) -> Option<InstanceHandle> {
        self.instances().contains(&(project.to_owned(), instance.to_owned())).then(|| InstanceHandle {
            handle: self.clone(),
            project: project.to_owned(),
            instance: instance.to_owned(),
        })
    }

    /// All instances as (project ID, instance ID).
    pub fn instances(&self) -> Vec<(String, String)> {
        self.shared.read(|world, _| world.instances.keys().cloned().collect())
    }

    /// Deletes an instance and its tasks.
    pub fn delete_instance(&self, project: &str, instance: &str) -> bool {
        let key = (project.to_owned(), instance.to_owned());
        self.shared.change(|world, _| world.instances.remove(&key).is_some())
    }

    pub fn policies(&self) -> Policies {
        self.shared.read(|world, _| world.policies.clone())
    }

    /// Changes the policies of every instance that has none of its own.
    pub fn set_policies(&self, set: impl FnOnce(&mut Policies)) {
        self.shared.change(|world, _| set(&mut world.policies));
    }

    /// Registers a project at IAM under a name. [`Handle::instance`] registers it under its ID.
    pub fn set_project(&self, id: &str, name: &str) {
        self.shared.change(|world, _| world.projects.insert(id.to_owned(), name.to_owned()));
    }

    /// Project ID → name.
    pub fn projects(&self) -> std::collections::BTreeMap<String, String> {
        self.shared.read(|world, _| world.projects.clone())
    }

    /// Accepts this token for a project (`None`: account-wide) from now on, for this long.
    pub fn set_token(&self, value: &str, project: Option<&str>, valid: Duration) {
        self.shared.change(|world, now| {
            world.tokens.insert(value.to_owned(), new_token(project, now, valid));
        });
    }

    /// Issues a realistic token for a project, valid for a day.
    pub fn issue_token(&self, project: &str) -> String {
        let day = Duration::from_hours(24);
        self.shared.change(|world, now| iam::add(world, new_token(Some(project), now, day)))
    }

    /// Makes a token expire now; false when there is no such token.
    pub fn expire_token(&self, value: &str) -> bool {
        self.shared.change(|world, now| world.tokens.get_mut(value).map(|token| token.expires_at = now).is_some())
    }

    /// Makes every token expire now.
    pub fn expire_all_tokens(&self) {
        self.shared.change(|world, now| world.tokens.values_mut().for_each(|token| token.expires_at = now));
    }

    /// Revokes a token; false when there is no such token.
    pub fn revoke_token(&self, value: &str) -> bool {
        self.shared.change(|world, _| world.tokens.get_mut(value).map(|token| token.revoked = true).is_some())
    }

    /// Revokes every token, as a password change does.
    pub fn revoke_all_tokens(&self) {
        self.shared.change(|world, _| world.tokens.values_mut().for_each(|token| token.revoked = true));
    }

    /// Adds or replaces an access key; its failures and lock are forgotten.
    pub fn set_key(&self, access: &str, key: AccessKey) {
        self.shared.change(|world, _| world.keys.insert(access.to_owned(), HeldKey::new(key)));
    }

    pub fn remove_key(&self, access: &str) -> bool {
        self.shared.change(|world, _| world.keys.remove(access).is_some())
    }

    /// Adds or replaces a user, identified by domain and name.
    pub fn set_user(&self, user: User) {
        self.shared.change(|world, _| {
            world.users.retain(|known| (&known.domain, &known.name) != (&user.domain, &user.name));
            world.users.push(user);
        });
    }

    pub fn remove_user(&self, domain: &str, name: &str) -> bool {
        self.shared.change(|world, _| {
            let before = world.users.len();
            world.users.retain(|known| (known.domain.as_str(), known.name.as_str()) != (domain, name));
            world.users.len() < before
        })
    }

    /// Sets a fault and returns its ID.
    pub fn fault(&self, on: Trigger, effect: Effect) -> u64 {
        self.shared.change(|world, now| world.set_fault(Fault { on, effect }, now))
    }

    pub fn faults(&self) -> Vec<ActiveFault> {
        self.shared.read(|world, _| world.faults.clone())
    }

    /// Clears a fault; false when there is none with this ID.
    pub fn clear_fault(&self, id: u64) -> bool {
        self.shared.change(|world, _| {
            let before = world.faults.len();
            world.faults.retain(|fault| fault.id != id);
            world.faults.len() < before
        })
    }

    pub fn clear_faults(&self) {
        self.shared.change(|world, _| world.faults.clear());
    }

    /// Closes new connections at once and open ones at their next request, which is then not
    /// logged.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.change(|world, _| world.refuses_connections = refuse);
    }

    /// Accepts connections without reading from them (a TLS handshake is not answered either), and
    /// holds up requests on open ones; they arrive, and are logged, when connections are no longer
    /// held. The control listener stays in service.
    pub fn hold_connections(&self, hold: bool) {
        self.shared.change(|world, _| world.holds_connections = hold);
    }

    /// How many connections and requests have been refused.
    pub fn refused_connections(&self) -> u64 {
        self.shared.read(|world, _| world.refused_connections)
    }

    /// Entries of the call log.
    pub fn calls(&self, filter: &Filter) -> Vec<Entry> {
        self.shared.read(|world, _| filter.select(&world.log).cloned().collect())
    }

    /// Sums over entries of the call log.
    pub fn counts(&self, filter: &Filter) -> Counts {
        self.with_log(|log| Counts::of(filter.select(log)))
    }

    /// Reads the log without copying it.
    pub fn with_log<T>(&self, read: impl FnOnce(&[Entry]) -> T) -> T {
        self.shared.read(|world, _| read(&world.log))
    }

    /// `seq` of the newest entry; 0 before the first. Pass it as `Filter::since` to get the entries
    /// after it.
    pub fn last_seq(&self) -> u64 {
        self.with_log(|log| log.last().map_or(0, |entry| entry.seq))
    }

    /// Waits until `condition` returns something. It is evaluated again whenever anything changes;
    /// nothing is polled.
    ///
    /// # Errors
    /// [`TimedOut`] after `within`, in real time.
    pub async fn wait_for<T>(
        &self,
        within: Duration,
        mut condition: impl FnMut(&mut View<'_>) -> Option<T>,
    ) -> Result<T, TimedOut> {
        let mut changes = self.shared.changes();
        let deadline = tokio::time::Instant::now() + within;
        loop {
            changes.borrow_and_update();
            let (found, due) = self.shared.read(|world, now| {
                let due = world.next_due(now);
                (condition(&mut View { world, now }), due)
            });
            if let Some(found) = found {
                return Ok(found);
            }
            let by_itself = async {
                match due {
                    Some(at) => self.clock().wait_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = by_itself => {}
                () = tokio::time::sleep_until(deadline) => return Err(TimedOut(within)),
            }
        }
    }
}

fn new_token(project: Option<&str>, now: Millis, valid: Duration) -> Token {
    Token {
        project: project.map(str::to_owned),
        user: "preset".to_owned(),
        domain: "preset".to_owned(),
        issued_at: now,
        expires_at: now.saturating_add(millis(valid)),
        revoked: false,
        read_only: false,
    }
}
