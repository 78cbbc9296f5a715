//! Lists the objects of one kind, then watches from there, for ever.
//!
//! Not kube's own watcher, for what goes wrong in it (a test shows each, `tests/it/broken_watches.rs`): when a version has
//! expired and the API server says so by status code, it asks for that version for ever; watches that end as soon as they begin
//! are begun again without a pause, thousands of times a second; an event that cannot be read is skipped, and with it the edit;
//! and signs of life stay inside, so that an idle watch looks like a dead one.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::api::{Api, ListParams, WatchParams};
use kube::core::{Status, WatchEvent};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

/// Objects of one list page: a page is held several times while it is decoded.
const PAGE: u32 = 50;
/// An API server gives up on a request after a minute itself: what it has not answered by then it never will.
const ANSWER: Duration = Duration::from_secs(60);
/// How late the end of a watch may be, as a part of its length: measured it comes to the tenth of a second.
const LATE: u32 = 6;
/// Waits between attempts. Client libraries go up to a minute: after a short outage the operator stayed blind for half of one.
/// Two cheap requests every few seconds burden no API server that is coming back.
const QUICKEST: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_secs(5);

/// What is heard.
#[derive(Debug)]
pub enum News<K> {
    /// A list begins. What it turns out not to hold was deleted.
    Listing,
    Listed(K),
    /// The list is complete.
    Complete,
    /// Created or changed.
    Changed(K),
    Deleted(K),
    /// Nothing but that the watch lives.
    Alive,
    Failed(Trouble),
}

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{}", said(.0))]
    Request(#[from] kube::Error),
    /// An ERROR event.
    #[error("{}", refusal(.0))]
    Told(Box<Status>),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("nothing heard for {0:?}, not even its end: the connection is dead")]
    Silent(Duration),
    #[error("the API server ended it as soon as it began")]
    EndedAtOnce,
    #[error("the API server named no resourceVersion")]
    NoVersion,
}

impl Trouble {
    /// Whether a watch can go on from the version it had reached. A server that cannot be heard, or has too much to do, has
    /// refused nothing; after anything else only a list tells what is true: the version may have expired, and an event that
    /// could not be read may have been an edit.
    fn keeps_the_version(&self) -> bool {
        let busy = |code: u16| matches!(code, 429 | 500 | 502 | 503);
        match self {
            Self::Request(kube::Error::Api(status)) | Self::Told(status) => busy(status.code),
            Self::Request(kube::Error::SerdeError(_)) | Self::NoVersion => false,
            Self::Request(_) | Self::NoAnswer(_) | Self::Silent(_) | Self::EndedAtOnce => true,
        }
    }
}

/// Tells all that happens to the objects of `api`. The server is asked to end each watch after `length`; the next one goes on
/// where it was. So there is a sign of life at least that often, and one that is overdue means a dead connection. Bookmarks
/// are none to rely on: measured on an idle kind they come every 60 s, but the first ones are left out for as long as the
/// version has not moved, which etcd may tell the API server as rarely as every ten minutes.
pub async fn follow<K>(api: &Api<K>, length: Duration, mut tell: impl FnMut(News<K>)) -> Infallible
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut waits = Waits(QUICKEST);
    let mut reached = None;
    loop {
        let began = Instant::now();
        let result = match &mut reached {
            None => list(api, length, &mut tell).await.map(|version| reached = Some(version)),
            Some(version) => {
                let ended = watch(api, version, length, &mut tell).await;
                if began.elapsed() >= SLOWEST {
                    waits = Waits(QUICKEST);
                }
                if ended.is_ok() && began.elapsed() < QUICKEST { Err(Trouble::EndedAtOnce) } else { ended }
            }
        };
        if let Err(trouble) = result {
            if !trouble.keeps_the_version() {
                reached = None;
            }
            tell(News::Failed(trouble));
            sleep(waits.next()).await;
        }
    }
}

/// All objects, page by page; the version of the list.
async fn list<K>(api: &Api<K>, length: Duration, tell: &mut impl FnMut(News<K>)) -> Result<String, Trouble>
where
    K: Clone + Debug + DeserializeOwned,
{
    tell(News::Listing);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = answered(length, api.list(&page)).await?;
        list.items.into_iter().for_each(|object| tell(News::Listed(object)));
        page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if page.continue_token.is_none() {
            let version = list.metadata.resource_version.filter(|version| !version.is_empty());
            let version = version.ok_or(Trouble::NoVersion)?;
            tell(News::Complete);
            return Ok(version);
        }
    }
}

/// Watches from `version` on and moves it along, until the server ends the watch.
async fn watch<K>(
    api: &Api<K>,
    version: &mut String,
    length: Duration,
    tell: &mut impl FnMut(News<K>),
) -> Result<(), Trouble>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let seconds = u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
    let silence = length + length / LATE;
    let events = answered(length, api.watch(&WatchParams::default().timeout(seconds), version)).await?;
    tell(News::Alive);
    let mut events = std::pin::pin!(events);
    loop {
        let event = timeout(silence, events.try_next()).await.map_err(|_| Trouble::Silent(silence))??;
        let (news, reached) = match event {
            None => return Ok(()),
            Some(WatchEvent::Error(status)) => return Err(Trouble::Told(status.boxed())),
            Some(WatchEvent::Bookmark(bookmark)) => (News::Alive, bookmark.metadata.resource_version),
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let reached = object.resource_version().unwrap_or_default();
                (News::Changed(object), reached)
            }
            Some(WatchEvent::Deleted(object)) => {
                let reached = object.resource_version().unwrap_or_default();
                (News::Deleted(object), reached)
            }
        };
        tell(news);
        if reached.is_empty() {
            return Err(Trouble::NoVersion);
        }
        *version = reached;
    }
}

async fn answered<T>(length: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    let limit = ANSWER.min(length);
    Ok(timeout(limit, request).await.map_err(|_| Trouble::NoAnswer(limit))??)
}

/// Waits between attempts that fail: doubled each time, and half of it at random, so that replicas do not ask together.
struct Waits(Duration);

impl Waits {
    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(SLOWEST);
        wait.mul_f64(rand::random_range(0.5..1.0))
    }
}

/// What the API server said, without the debug text that kube's errors carry along.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refusal(status),
        other => other.to_string(),
    }
}

fn refusal(status: &Status) -> String {
    format!("{} {}: {}", status.code, status.reason, status.message)
}
