//! All tasks of an instance, and how to tell that a page of their list is as it was: an idle
//! instance is listed in each poll interval, and decoding is most of what that costs.

use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use crate::fdi::task::{Attributes, Task, TaskId};

/// All tasks of an instance, sorted by ID. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    list: Arc<[Task]>,
    attributes: Attributes,
    /// `None`: the pages are decoded again whatever they are.
    pages: Option<Arc<Pages>>,
}

/// The pages that a list was read from.
#[derive(Debug)]
struct Pages {
    summaries: Vec<PageSummary>,
    /// Where the tasks of the pages, in their order, are among all.
    places: Box<[u16]>,
}

/// One page, as far as it is used.
#[derive(Debug)]
pub struct Page {
    pub summary: PageSummary,
    pub tasks: Vec<Task>,
}

/// What a page says beside its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSummary {
    pub digest: Digest,
    pub total: Option<usize>,
    /// Entries as the service counts them, skipped ones included.
    pub received: usize,
    pub skipped: usize,
    pub tasks: usize,
}

/// Stands for the bytes of a body. Its key is drawn at random at the start of the process, so
/// that no service can make two bodies with the same digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    pub fn of(body: &[u8]) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(KEY.hash_one(body))
    }
}

impl Deref for Tasks {
    type Target = [Task];

    fn deref(&self) -> &[Task] {
        &self.list
    }
}

impl Tasks {
    pub fn new(attributes: Attributes, mut tasks: Vec<Task>) -> Self {
        tasks.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Self { list: tasks.into(), attributes, pages: None }
    }

    /// The tasks of these pages, in their order. A task that is on two pages is as the later one
    /// saw it, so pages are not kept if there is one.
    pub fn of_pages(attributes: Attributes, tasks: Vec<Task>, summaries: Vec<PageSummary>) -> Self {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
        let mut all = Self::new(attributes, tasks);
        if summaries.iter().map(|page| page.tasks).sum::<usize>() == ids.len() {
            let places = ids.iter().map(|id| u16::try_from(all.place(id)?).ok()).collect::<Option<_>>();
            all.pages = places.map(|places| Arc::new(Pages { summaries, places }));
        }
        all
    }

    fn place(&self, id: &TaskId) -> Option<usize> {
        self.list.binary_search_by(|task| task.id.cmp(id)).ok()
    }

    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.place(id).map(|place| &self.list[place])
    }

    /// Whether they have their attributes.
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The page of this number, if its body was the one with this digest.
    pub fn page(&self, number: usize, digest: Digest) -> Option<Page> {
        let pages = self.pages.as_ref()?;
        let summary = *pages.summaries.get(number).filter(|page| page.digest == digest)?;
        let before: usize = pages.summaries[..number].iter().map(|page| page.tasks).sum();
        let places = &pages.places[before..before + summary.tasks];
        Some(Page { summary, tasks: places.iter().map(|&place| self.list[usize::from(place)].clone()).collect() })
    }

    /// Whether the list was read from these pages.
    pub fn is_of_pages(&self, summaries: &[PageSummary]) -> bool {
        self.pages.as_ref().is_some_and(|pages| pages.summaries == summaries)
    }

    /// Whether nothing differs.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list) || self.list == other.list
    }

    /// Takes equal IDs that others share. A list that somebody shares already stays as it is.
    pub fn intern_ids<'a>(&mut self, interned: impl Fn(&TaskId) -> Option<&'a TaskId>) {
        for task in Arc::get_mut(&mut self.list).unwrap_or_default() {
            if let Some(id) = interned(&task.id) {
                task.id = id.clone();
            }
        }
    }
}
