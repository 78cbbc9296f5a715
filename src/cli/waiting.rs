//! Polls until objects are as they should be, with a progress bar on terminals.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kube::Client;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{CommandError, Outcome, report};
use super::output::print;
use super::target::{Kind, Target};
use crate::config::flags::duration;

/// Shortest pause between two reads of the same object.
const INTERVAL: Duration = Duration::from_millis(500);

/// Many objects are read less often: at most 20 requests in a second.
const PER_OBJECT: Duration = Duration::from_millis(50);

/// The flags of commands that may wait. Their comments are the help texts, so they are plain text.
#[derive(Debug, Clone, Args)]
pub struct WaitFlags {
    /// Wait until it is done.
    #[arg(long)]
    pub wait: bool,

    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Ready in the current generation. A stalled object needs a user, so it ends the wait unless
    /// `despite_stalled`.
    Ready { despite_stalled: bool },
    /// The operator has seen the current generation.
    Observed,
    /// The operator has acted on this request for a reconcile.
    Handled(String),
}

enum Progress {
    Reached,
    Stalled,
    NotYet,
}

impl Goal {
    fn progress(&self, target: &Target) -> Progress {
        let readiness = target.readiness();
        let reached = match self {
            Self::Ready { .. } => readiness.ready,
            Self::Observed => readiness.observed,
            Self::Handled(value) => target.last_handled() == Some(value),
        };
        match self {
            _ if reached => Progress::Reached,
            Self::Ready { despite_stalled: false } if readiness.stalled => Progress::Stalled,
            _ => Progress::NotYet,
        }
    }

    /// Why it is not reached.
    fn why(&self, target: &Target) -> String {
        let readiness = target.readiness();
        match self {
            Self::Handled(_) if readiness.observed => {
                "the operator has not acted on the request: check that it runs, and that it watches this namespace"
                    .to_owned()
            }
            _ => format!("{}: {}", readiness.word(), readiness.message),
        }
    }

    fn reached(&self, target: &Target) -> String {
        match self {
            Self::Ready { .. } => "is Ready".to_owned(),
            Self::Observed => "is observed by the operator".to_owned(),
            Self::Handled(_) => format!("is reconciled: {}", target.readiness().word()),
        }
    }
}

/// Polls all of them, and prints what became of each. [`Outcome::NotWell`] if not all reached
/// the goal in time.
pub async fn wait(
    client: &Client,
    targets: Vec<Target>,
    goal: &Goal,
    within: Duration,
) -> Result<Outcome, CommandError> {
    let deadline = Instant::now() + within;
    let bar = bar(&targets);
    // The bar is drawn anew below each line.
    let say = |line: &str| bar.suspend(|| print(line));
    let fail = |line: &str| bar.suspend(|| report(&line));
    let mut pending = targets.clone();
    let mut all = targets;
    let mut outcome = Outcome::Well;
    while !pending.is_empty() {
        let mut left = Vec::new();
        for target in pending {
            match goal.progress(&target) {
                Progress::Reached => say(&format!("{} {}", target.full_name(), goal.reached(&target))),
                Progress::Stalled => {
                    fail(&format!("{} is stalled, a user has to act: {}", target.full_name(), goal.why(&target)));
                    outcome = Outcome::NotWell;
                }
                Progress::NotYet => left.push(target),
            }
        }
        show(&bar, &all, &left);
        pending = left;
        if pending.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            for target in &pending {
                fail(&format!("{} is not done after {within:?}: {}", target.full_name(), goal.why(target)));
            }
            outcome = Outcome::NotWell;
            break;
        }
        let many = PER_OBJECT * u32::try_from(pending.len()).unwrap_or(u32::MAX);
        sleep(INTERVAL.max(many).min(deadline - Instant::now())).await;
        for target in &mut pending {
            refresh(client, target, deadline).await?;
            if let Some(known) = all.iter_mut().find(|known| known.object.metadata.uid == target.object.metadata.uid) {
                *known = target.clone();
            }
        }
    }
    bar.finish_and_clear();
    Ok(outcome)
}

/// Reads the object again. An API server that does not answer may do so later.
async fn refresh(client: &Client, target: &mut Target, deadline: Instant) -> Result<(), CommandError> {
    let api = target.api(client);
    let name = target.name();
    let Ok(answer) = timeout_at(deadline, api.get_opt(&name)).await else { return Ok(()) };
    match answer {
        Ok(Some(object)) if object.metadata.uid == target.object.metadata.uid => target.object = object,
        Ok(_) => return Err(target.not_found()),
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
            let what = format!("read {}", target.full_name());
            return Err(CommandError::request(&what, kube::Error::Api(status)));
        }
        Err(_) => {}
    }
    Ok(())
}

/// Counts tasks where there are groups, else objects. It is drawn on a terminal only.
fn bar(targets: &[Target]) -> ProgressBar {
    let bar = ProgressBar::new(1);
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {pos}/{len} {msg} ({elapsed})");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    if !bar.is_hidden() && !targets.is_empty() {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    bar
}

fn show(bar: &ProgressBar, all: &[Target], pending: &[Target]) {
    let counts = all.iter().filter(|target| target.kind == Kind::Group).filter_map(Target::tasks);
    let (ready, total) = counts.fold((0, 0), |(ready, total), tasks| (ready + tasks.ready, total + tasks.total));
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    if total > 0 {
        bar.set_length(u64::try_from(total).unwrap_or_default());
        bar.set_position(u64::try_from(ready).unwrap_or_default());
    } else {
        bar.set_length(count(all.len()));
        bar.set_position(count(all.len() - pending.len()));
    }
    let next = pending.first().map(|target| format!("{}: {}", target.name(), target.readiness().word()));
    bar.set_message(next.unwrap_or_default());
}
