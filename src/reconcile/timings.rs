//! Every wait and every count that decides how the operator behaves over time, with the reason for its figure.

use std::time::Duration;

/// The figures of the design. They are no flags: each follows from how the FDI service behaves or from what a person
/// watching `kubectl get` takes for stuck. Only tests build other ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    /// How long an accepted call may take to show in a list before the attempt counts as failed (`NotSettled`): the service
    /// starts and stops tasks in the background, most within seconds.
    pub settle_window: Duration,
    /// Waits between looks at a task that is settling: quick at first because most tasks settle at once; the last one repeats.
    pub look_again: Vec<Duration>,
    /// First wait after a failure; doubled with each further one.
    pub backoff_base: Duration,
    /// Longest wait after a failure: an outage that ends is noticed within this time.
    pub backoff_max: Duration,
    /// Attempts of one call for a task before the task counts as failed and only the slow retry is left.
    pub attempts: u32,
    /// Pause between attempts for a task that failed for a lasting cause: often enough that a repaired task starts by itself,
    /// rare enough to cost nothing.
    pub slow_retry: Duration,
    /// Corrections of one task within [`Self::contest_window`] after which somebody else is plainly working against us.
    pub contest_corrections: u32,
    /// The time in which [`Self::contest_corrections`] are counted.
    pub contest_window: Duration,
    /// How long a task may be missing from the list, or owned by another group, before its group says so as a failure: two
    /// objects applied together, or a task just created, need no alarm.
    pub missing_grace: Duration,
    /// How long the instance must be unable to serve (sign-in refused, forbidden, duplicate …) before its groups stall: a
    /// rolled credential is given the time to arrive.
    pub refused_grace: Duration,
    /// How long looks must fail before groups say that what they show is stale.
    pub stale_grace: Duration,
    /// How many looks must fail in a row before groups say so: one lost answer is no news.
    pub stale_looks: u32,
    /// How long the deletion of a group with `deletionPolicy: Stop` waits for its tasks to stop before it lets go.
    pub deletion_give_up: Duration,
    /// The same when the instance or its Secret is gone and nothing can be stopped any more.
    pub deletion_gone: Duration,
    /// How old a Secret read may be: the time in which a changed credential is used even while everything waits.
    pub secret_reread: Duration,
    /// Quiet time after which a part-filled batch is sent: longer than the gap between two objects of one `kubectl apply`.
    pub linger_quiet: Duration,
    /// Longest time a part-filled batch waits for company; the most that a single edit can be delayed by others.
    pub linger_max: Duration,
    /// Longest time one pass sends calls before it looks and plans anew, so that an edit never waits behind a long plan.
    pub run_slice: Duration,
    /// A list younger than this, with nothing sent since, is not asked for again.
    pub fresh_list: Duration,
    /// How long a second of `pollIntervalSeconds` is. A second.
    pub poll_second: Duration,
    /// First looks after a start are spread over this time, so that a restart is no burst for the service.
    pub start_spread: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            settle_window: seconds(120),
            look_again: [1, 2, 4, 8].map(seconds).to_vec(),
            backoff_base: seconds(5),
            backoff_max: seconds(600),
            attempts: 5,
            slow_retry: seconds(600),
            contest_corrections: 5,
            contest_window: seconds(30 * 60),
            missing_grace: seconds(120),
            refused_grace: seconds(120),
            stale_grace: seconds(120),
            stale_looks: 3,
            deletion_give_up: seconds(600),
            deletion_gone: seconds(30),
            secret_reread: seconds(30),
            linger_quiet: Duration::from_millis(30),
            linger_max: Duration::from_millis(300),
            run_slice: seconds(2),
            fresh_list: seconds(2),
            poll_second: seconds(1),
            start_spread: seconds(3),
        }
    }
}
