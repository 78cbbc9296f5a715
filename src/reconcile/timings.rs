//! Every wait and every count that decides how the operator behaves over time, with the reason for
//! its value.

use std::time::Duration;

use crate::time::backoff::{Backoff, jitter};

/// The values of the design. They are no flags: each follows from how the FDI service behaves, or
/// from when a person who watches `kubectl get` takes a group for stuck. Only tests build other
/// ones.
#[derive(Debug, Clone)]
pub struct Timings {
    /// How long an accepted call may take to show in a list before the attempt counts as failed
    /// (`NotSettled`): the service starts and stops tasks in the background, most within seconds.
    pub settle_window: Duration,
    /// Waits between lists while a task settles: short at first because most tasks settle at once.
    /// The first list comes as soon as the call has ended; the last wait repeats.
    pub settle_polls: Vec<Duration>,
    /// Waits after failures. The end of an outage is noticed within the longest.
    pub backoff: Backoff,
    /// Attempts for one task before it counts as failed and only the slow retry is left.
    pub max_attempts: u32,
    /// Pause between attempts for a task that failed for a permanent cause: short enough that a
    /// repaired task starts by itself, long enough to cost nothing.
    pub slow_retry: Duration,
    /// Corrections of one task within [`Self::contest_window`] after which the task counts as
    /// contested.
    pub contest_corrections: u32,
    /// The time in which [`Self::contest_corrections`] are counted.
    pub contest_window: Duration,
    /// How long a task may be missing from the list, or owned by another group, before its group
    /// reports a failure: two objects applied together, or a task just created, need no alarm.
    pub missing_grace: Duration,
    /// How soon a second list confirms that a task is missing, once the grace is over.
    pub confirm_missing: Duration,
    /// How long a group waits for an `FdiInstance` that was never seen before it reports that there
    /// is none: of objects applied together, either may be seen first.
    pub reference_grace: Duration,
    /// How long no status of a group can be written before no further call is sent for it: nobody
    /// could see what the operator does.
    pub report_timeout: Duration,
    /// Shortest time between two reconciles of which the first has sent no call, unless something
    /// changed.
    pub min_interval: Duration,
    /// Longest time that signing in and listing take together.
    pub observe_timeout: Duration,
    /// How long the instance must be unable to serve (sign-in refused, forbidden, duplicate …)
    /// before its groups stall: a rotated credential gets the time to arrive.
    pub rejected_grace: Duration,
    /// How long lists must fail before groups report that their observation is stale.
    pub stale_grace: Duration,
    /// How many lists must fail in a row before groups report it: one lost response is no news.
    pub stale_after: u32,
    /// How long the deletion of a group with `deletionPolicy: Stop` waits for its tasks to stop
    /// before the finalizer is removed anyway.
    pub deletion_timeout: Duration,
    /// The same when the instance or its Secret is gone, so that nothing can be stopped any more.
    pub deletion_orphan_timeout: Duration,
    /// How old a Secret read may be: the time in which a changed credential is used, also during a
    /// back-off.
    pub secret_refresh: Duration,
    /// A partial batch is sent after this time without another edit: longer than the gap between
    /// two objects of one `kubectl apply`.
    pub batch_idle: Duration,
    /// Longest time a partial batch is held back for more tasks: the most that others can delay an
    /// edit.
    pub batch_max_wait: Duration,
    /// How long one reconcile sends calls before the next one lists, reports what has settled and
    /// plans anew; longer where few calls fit into it. An edit ends it at once.
    pub execute_slice: Duration,
    /// The same, however few calls fit into it.
    pub execute_slice_max: Duration,
    /// A list younger than this, with nothing sent since, is not requested again.
    pub list_ttl: Duration,
    /// The unit of `pollIntervalSeconds`. Tests shorten it.
    pub poll_interval_unit: Duration,
    /// The first lists after a start are spread over this time, so that a restart is no burst for
    /// the service.
    pub start_jitter: Duration,
    /// A factor of 1 ± 10 % for waits, so that instances that failed together are not tried again
    /// together.
    pub jitter: fn() -> f64,
}

impl Timings {
    /// `wait` ± 10 %.
    pub fn jittered(&self, wait: Duration) -> Duration {
        wait.mul_f64((self.jitter)())
    }
}

impl Default for Timings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            settle_window: seconds(120),
            settle_polls: [100, 250, 500, 1000, 2000, 4000, 8000].map(Duration::from_millis).to_vec(),
            backoff: Backoff { base: seconds(5), max: seconds(600) },
            max_attempts: 5,
            slow_retry: seconds(600),
            contest_corrections: 5,
            contest_window: seconds(30 * 60),
            missing_grace: seconds(120),
            confirm_missing: seconds(1),
            reference_grace: seconds(2),
            report_timeout: seconds(300),
            min_interval: Duration::from_millis(20),
            observe_timeout: seconds(90),
            rejected_grace: seconds(120),
            stale_grace: seconds(120),
            stale_after: 3,
            deletion_timeout: seconds(600),
            deletion_orphan_timeout: seconds(30),
            secret_refresh: seconds(30),
            batch_idle: Duration::from_millis(30),
            batch_max_wait: Duration::from_millis(300),
            execute_slice: seconds(2),
            execute_slice_max: seconds(10),
            list_ttl: seconds(2),
            poll_interval_unit: seconds(1),
            start_jitter: seconds(2),
            jitter,
        }
    }
}
