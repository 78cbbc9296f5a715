//! Lists the objects of one kind, then watches from there, forever.
//!
//! This is not kube's watcher, for what goes wrong in it (`docs/upstream/`, and a test for each in
//! `tests/it/broken_watches.rs`): when a version has expired and the API server says so by status
//! code, it requests that version forever; watches that end as soon as they begin are started again
//! without a back-off, thousands of times a second; an event that cannot be decoded is skipped, and
//! with it the edit; and bookmarks stay inside, so that an idle watch looks like a dead
//! one.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::api::{Api, ListParams, WatchParams};
use kube::core::{ObjectList, Request, Status, WatchEvent};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use crate::k8s::error::{describe, describe_status};
use crate::time::backoff::Backoff;

/// A page of a list is held several times while it is decoded, and an object may have 3 MB. So the
/// first page is small, and from its size follows that of the next one.
const FIRST_PAGE: usize = 4;
const MAX_PAGE: usize = 250;
const PAGE_BYTES: usize = 512 << 10;
/// An API server gives up on a request after a minute itself: no response comes after that.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How late the end of a watch may be, as a part of its timeout: measured, it comes to the tenth of
/// a second.
const IDLE_GRACE: u32 = 6;
/// Waits between attempts. Client libraries go up to a minute, which left the operator blind for
/// half of one after a short outage; two cheap requests every few seconds burden no API server that
/// is recovering.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const BACKOFF: Backoff = Backoff { base: MIN_BACKOFF, max: MAX_BACKOFF };

/// What happens to the objects of a kind.
#[derive(Debug)]
pub enum Event<K> {
    /// A list begins. What it turns out not to contain was deleted.
    Init,
    InitApply(K),
    /// The list is complete.
    InitDone,
    /// Created or changed.
    Apply(K),
    Delete(K),
    /// Nothing has changed; the watch is alive.
    Bookmark,
    Error(Error),
}

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", describe(.0))]
    Request(#[from] kube::Error),
    /// An ERROR event.
    #[error("{}", describe_status(.0))]
    Watch(Box<Status>),
    #[error("no response within {0:?}")]
    Timeout(Duration),
    #[error("no event within {0:?}, not even the end of the watch: the connection is dead")]
    Idle(Duration),
    #[error("the API server ended the watch as soon as it began")]
    EndedEarly,
    #[error("the API server sent no resourceVersion")]
    NoVersion,
    #[error(
        "the API server's resourceVersion went back from {reached} to {now}: its data was probably restored from a backup"
    )]
    VersionWentBack { reached: u64, now: u64 },
}

impl Error {
    /// Whether the operator has no permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Request(kube::Error::Api(status)) if matches!(status.code, 401 | 403))
    }

    /// Whether a watch can resume from the version it had reached. A server that cannot be reached,
    /// or is overloaded, has rejected nothing; after anything else only a list shows what is true:
    /// the version may have expired, and an event that could not be decoded may have been an edit.
    fn can_resume(&self) -> bool {
        let busy = |code: u16| matches!(code, 429 | 500 | 502 | 503);
        match self {
            Self::Request(kube::Error::Api(status)) | Self::Watch(status) => busy(status.code),
            Self::Request(kube::Error::SerdeError(_)) | Self::NoVersion | Self::VersionWentBack { .. } => false,
            Self::Request(_) | Self::Timeout(_) | Self::Idle(_) | Self::EndedEarly => true,
        }
    }
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    List,
    /// Before a watch resumes: whether the API server still has the version that was reached.
    Check,
    Watch,
}

/// Calls `on_event` for all that happens to the objects of `api`. The server is asked to end each
/// watch after `watch_timeout`; the next one resumes from there. So there is an event at least that
/// often, and one that is overdue means a dead connection. Bookmarks are not reliable as a liveness
/// signal: measured on an idle kind they come every 60 s, but the first may be missing for up to
/// ten minutes. Between two watches `must_list` may ask for a list.
pub async fn watch<K>(
    api: &Api<K>,
    watch_timeout: Duration,
    mut on_event: impl FnMut(Event<K>),
    must_list: impl Fn() -> bool,
) -> Infallible
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut failures = 0;
    let mut reached = String::new();
    let mut step = Step::List;
    loop {
        let began = Instant::now();
        let mut result = match step {
            Step::List => list(api, watch_timeout, &mut reached, &mut on_event).await,
            Step::Check => check_version(api, watch_timeout, &reached).await,
            Step::Watch => watch_from(api, &mut reached, watch_timeout, &mut on_event).await,
        };
        if step == Step::Watch {
            if began.elapsed() >= MAX_BACKOFF {
                failures = 0;
            }
            if result.is_ok() && began.elapsed() < MIN_BACKOFF {
                result = Err(Error::EndedEarly);
            }
        }
        step = match (&result, step) {
            (Err(error), _) if !error.can_resume() => Step::List,
            (Err(_), Step::List) => Step::List,
            (Ok(()), Step::Watch) if must_list() => Step::List,
            (Err(_), _) | (Ok(()), Step::Watch) => Step::Check,
            (Ok(()), _) => Step::Watch,
        };
        if let Err(error) = result {
            if matches!(error, Error::VersionWentBack { .. }) {
                reached.clear();
            }
            on_event(Event::Error(error));
            failures += 1;
            // Half of it at random, so that replicas do not ask together.
            sleep(BACKOFF.exponential(failures).mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }
}

/// All objects, page by page. `reached` becomes the version of the list.
async fn list<K>(
    api: &Api<K>,
    watch_timeout: Duration,
    reached: &mut String,
    on_event: &mut impl FnMut(Event<K>),
) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    on_event(Event::Init);
    let client = api.clone().into_client();
    let resource = Request::new(api.resource_url());
    let (mut size, mut token) = (FIRST_PAGE, None);
    loop {
        let page = ListParams { limit: u32::try_from(size).ok(), continue_token: token, ..ListParams::default() };
        let request = resource.list(&page).map_err(kube::Error::BuildRequest)?;
        let text = response(watch_timeout, client.request_text(request)).await?;
        size = next_page(size, text.len());
        let list: ObjectList<K> = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        drop(text);
        list.items.into_iter().for_each(|object| on_event(Event::InitApply(object)));
        token = list.metadata.continue_.filter(|token| !token.is_empty());
        if token.is_none() {
            let version = list.metadata.resource_version.filter(|version| !version.is_empty());
            let version = version.ok_or(Error::NoVersion)?;
            if let Err(error) = compare_versions(reached, &version) {
                on_event(Event::Error(error));
            }
            *reached = version;
            on_event(Event::InitDone);
            return Ok(());
        }
    }
}

/// How many objects to ask for after a page with so many objects and bytes.
fn next_page(size: usize, bytes: usize) -> usize {
    (size * PAGE_BYTES / bytes.max(1)).clamp(1, MAX_PAGE).min(size * 8)
}

/// After a restore of its data from a backup, the API server would accept a watch from a version
/// that it has not reached yet, and send nothing until it has.
async fn check_version<K>(api: &Api<K>, watch_timeout: Duration, reached: &str) -> Result<(), Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let newest = ListParams::default().limit(1);
    let list = response(watch_timeout, api.list_metadata(&newest)).await?;
    compare_versions(reached, list.metadata.resource_version.as_deref().unwrap_or_default())
}

/// Versions are numbers that grow: by contract since Kubernetes 1.35, in fact long before.
fn compare_versions(reached: &str, now: &str) -> Result<(), Error> {
    match (reached.parse(), now.parse()) {
        (Ok(reached), Ok(now)) if now < reached => Err(Error::VersionWentBack { reached, now }),
        _ => Ok(()),
    }
}

/// Watches from `reached` on and advances it, until the server ends the watch.
async fn watch_from<K>(
    api: &Api<K>,
    reached: &mut String,
    watch_timeout: Duration,
    on_event: &mut impl FnMut(Event<K>),
) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let seconds = u32::try_from(watch_timeout.as_secs()).unwrap_or(u32::MAX);
    let idle = watch_timeout + watch_timeout / IDLE_GRACE;
    let events = response(watch_timeout, api.watch(&WatchParams::default().timeout(seconds), reached)).await?;
    on_event(Event::Bookmark);
    let mut events = std::pin::pin!(events);
    loop {
        let received = timeout(idle, events.try_next()).await.map_err(|_| Error::Idle(idle))??;
        let (event, version) = match received {
            None => return Ok(()),
            Some(WatchEvent::Error(status)) => return Err(Error::Watch(status.boxed())),
            Some(WatchEvent::Bookmark(bookmark)) => (Event::Bookmark, bookmark.metadata.resource_version),
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let version = object.resource_version().unwrap_or_default();
                (Event::Apply(object), version)
            }
            Some(WatchEvent::Deleted(object)) => {
                let version = object.resource_version().unwrap_or_default();
                (Event::Delete(object), version)
            }
        };
        // An event from the past: the data was restored beneath an open watch. Only a list shows
        // what is true now.
        compare_versions(reached, &version)?;
        on_event(event);
        if version.is_empty() {
            return Err(Error::NoVersion);
        }
        *reached = version;
    }
}

async fn response<T>(watch_timeout: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    let limit = REQUEST_TIMEOUT.min(watch_timeout);
    Ok(timeout(limit, request).await.map_err(|_| Error::Timeout(limit))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_objects_are_small_and_shrink_when_they_are_large() {
        assert_eq!(next_page(FIRST_PAGE, FIRST_PAGE * 2_000), 32);
        assert_eq!(next_page(32, 32 * 2_000), MAX_PAGE);
        assert_eq!(next_page(FIRST_PAGE, FIRST_PAGE * 1_500_000), 1);
        assert_eq!(next_page(1, 1_500_000), 1);
        assert_eq!(next_page(1, 50_000), 8);
        assert_eq!(next_page(4, 0), 32);
    }
}
