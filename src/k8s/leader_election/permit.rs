//! Leadership as a value that expires by itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::time::moment::Moment;

/// Up to when this process may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    /// Not the leader yet.
    Pending,
    /// The leader for `length` from `sent` on, unless renewed before that.
    Until { sent: Moment, length: Duration },
    /// Without election: always.
    Always,
    /// Over for good: lost or released.
    Ended,
}

impl Term {
    fn is_valid(self) -> bool {
        self.is_valid_at(Moment::now())
    }

    fn is_valid_at(self, now: Moment) -> bool {
        match self {
            Self::Always => true,
            Self::Until { sent, length } => sent.elapsed_at(now) < length,
            Self::Pending | Self::Ended => false,
        }
    }
}

/// Whether this process is the leader.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Term>);

/// Allows requests to FDI and writes to the API server. It expires at the renew deadline by itself,
/// also in a process that was stopped and resumed, because [`Permit::check`] compares the deadline
/// with the clock.
#[derive(Debug, Clone)]
pub struct Permit(watch::Receiver<Term>);

/// The permit has expired: send nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is no longer the leader")]
pub struct Expired;

/// The elector's side: grants, renews and ends the term.
#[derive(Debug, Clone)]
pub struct LeadershipSender(Arc<watch::Sender<Term>>);

impl Leadership {
    /// For a process that runs without election: its permit never expires.
    pub fn always() -> Self {
        Self(watch::channel(Term::Always).1)
    }

    /// For a process that campaigns; the sender goes to [`elect`](super::elect).
    pub fn channel() -> (LeadershipSender, Self) {
        let (sender, receiver) = watch::channel(Term::Pending);
        (LeadershipSender(Arc::new(sender)), Self(receiver))
    }

    /// Resolves once this process is the leader. Never resolves after the term has ended: there is
    /// no second one.
    pub async fn acquired(&self) -> Permit {
        let mut terms = self.0.clone();
        if terms.wait_for(|term| term.is_valid()).await.is_err() {
            // The elector ended without granting a term.
            std::future::pending::<()>().await;
        }
        Permit(terms)
    }
}

impl Permit {
    /// To be checked before every request.
    pub fn check(&self) -> Result<(), Expired> {
        let term = *self.0.borrow();
        if term.is_valid() { Ok(()) } else { Err(Expired) }
    }

    /// Resolves at the deadline, or when the term is lost or released: drop what is in flight.
    pub async fn expired(&self) {
        let mut deadline = std::pin::pin!(self.deadline());
        // Timers do not count the time in which the machine was suspended, so each poll asks the
        // clock.
        poll_fn(|context| if self.check().is_err() { Poll::Ready(()) } else { deadline.as_mut().poll(context) }).await;
    }

    /// Resolves when the term ends by the monotonic clock.
    async fn deadline(&self) {
        let mut terms = self.0.clone();
        loop {
            let term = *terms.borrow_and_update();
            match term {
                Term::Until { sent, length } if term.is_valid() => {
                    let deadline = sent.monotonic() + length;
                    tokio::select! {
                        () = sleep_until(deadline) => {}
                        changed = terms.changed() => if changed.is_err() { sleep_until(deadline).await },
                    }
                }
                Term::Always => std::future::pending().await,
                Term::Until { .. } | Term::Pending | Term::Ended => return,
            }
        }
    }
}

impl LeadershipSender {
    /// Grants the term, or renews it, until `length` after `sent`: the moment before the successful
    /// request was sent. `false`: too late, the term was seen to expire or the new one is over as
    /// well.
    #[must_use]
    pub(super) fn renew(&self, sent: Moment, length: Duration) -> bool {
        let next = Term::Until { sent, length };
        self.0.send_if_modified(|term| {
            let open = *term == Term::Pending || term.is_valid();
            if open && next.is_valid() {
                *term = next;
            }
            open && next.is_valid()
        })
    }

    /// When the term ends unless renewed. `None` before it began and after it was ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self.0.borrow() {
            Term::Until { sent, length } => Some(sent.monotonic() + length),
            Term::Pending | Term::Always | Term::Ended => None,
        }
    }

    /// Whether a term began and is over.
    pub(super) fn has_expired(&self) -> bool {
        let term = *self.0.borrow();
        matches!(term, Term::Until { .. }) && !term.is_valid()
    }

    /// Ends the term at once and for good.
    pub(super) fn end(&self) {
        self.0.send_replace(Term::Ended);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    const TERM: Duration = Duration::from_secs(10);

    fn current(leadership: &Leadership) -> Option<Permit> {
        leadership.acquired().now_or_never()
    }

    #[tokio::test(start_paused = true)]
    async fn without_election_the_permit_is_there_at_once_and_stays() {
        let leadership = Leadership::always();
        let permit = leadership.acquired().await;
        advance(Duration::from_secs(1_000_000)).await;
        assert_eq!(permit.check(), Ok(()));
        assert!(current(&leadership).is_some());
        assert!(tokio::time::timeout(TERM, permit.expired()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_expires_by_the_clock_alone_and_cannot_be_revived() {
        let (sender, leadership) = Leadership::channel();
        assert!(current(&leadership).is_none());
        assert!(sender.renew(Moment::now(), TERM));
        let permit = leadership.acquired().await;
        advance(Duration::from_millis(9_999)).await;
        assert_eq!(permit.check(), Ok(()));
        advance(Duration::from_millis(1)).await;
        assert_eq!(permit.check(), Err(Expired));
        assert!(current(&leadership).is_none());
        assert!(!sender.renew(Moment::now(), TERM), "the term was seen to expire");
        assert_eq!(permit.check(), Err(Expired));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_resolves_at_the_last_deadline_and_not_at_an_earlier_one() {
        let (sender, leadership) = Leadership::channel();
        let started = Instant::now();
        assert!(sender.renew(Moment::now(), TERM));
        let permit = leadership.acquired().await;
        let expired = tokio::spawn(async move {
            permit.expired().await;
            Instant::now()
        });
        advance(Duration::from_secs(6)).await;
        assert!(sender.renew(Moment::now(), TERM));
        assert_eq!(expired.await.ok(), Some(started + Duration::from_secs(16)));
    }

    #[tokio::test(start_paused = true)]
    async fn ending_the_term_ends_every_permit_at_once_and_for_good() {
        let (sender, leadership) = Leadership::channel();
        assert!(sender.renew(Moment::now(), TERM));
        let permit = leadership.acquired().await;
        sender.end();
        permit.expired().await;
        assert_eq!(permit.check(), Err(Expired));
        assert!(!sender.renew(Moment::now(), TERM));
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_that_is_over_when_it_is_granted_does_not_begin() {
        let (sender, leadership) = Leadership::channel();
        let before = Moment::now();
        advance(TERM).await;
        assert!(!sender.renew(before, TERM));
        assert!(current(&leadership).is_none());
        assert!(sender.renew(Moment::now(), TERM), "the term has not begun yet, so nobody saw it expire");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_elector_grants_no_eternal_term() {
        let (sender, leadership) = Leadership::channel();
        assert!(sender.renew(Moment::now(), TERM));
        let permit = leadership.acquired().await;
        drop(sender);
        let started = Instant::now();
        permit.expired().await;
        assert_eq!(started.elapsed(), TERM);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_was_suspended_wakes_without_a_permit() {
        let sent = Moment::now();
        let term = Term::Until { sent, length: TERM };
        assert!(term.is_valid_at(sent.after_suspension(TERM.saturating_sub(Duration::from_millis(1)))));
        assert!(!term.is_valid_at(sent.after_suspension(TERM)));
        // As seen from the other side: the clock that goes on is already far, the timers have not
        // moved.
        let (sender, leadership) = Leadership::channel();
        let (now, almost) = (Moment::now(), TERM.saturating_sub(Duration::from_millis(20)));
        let early = Moment::now().before_suspension(almost);
        assert!(sender.renew(early, TERM));
        let permit = leadership.acquired().await;
        while early.elapsed_at(Moment::now()) < TERM {
            std::thread::yield_now();
        }
        assert_eq!(Instant::now(), now.monotonic(), "no timer has moved");
        assert_eq!(permit.check(), Err(Expired));
        assert!(permit.expired().now_or_never().is_some());
        assert!(sender.has_expired() && !sender.renew(Moment::now(), TERM));
    }
}
