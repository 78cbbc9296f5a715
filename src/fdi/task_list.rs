//! Assembles the complete list of an instance's tasks from pages that may shift while they are
//! read.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::fdi::classify::{RequestContext, classify, malformed_response};
use crate::fdi::error::{CallError, Cause, Class};
use crate::fdi::json::Scalar;
use crate::fdi::list_page::ListPage;
use crate::fdi::task::{Attributes, Task, TaskAttributes, TaskId};
use crate::fdi::tasks::{Digest, Page, PageSummary, Tasks};
use crate::fdi::text::single_line;
use crate::fdi::transport::HttpResponse;
use crate::fdi::wire::{ErrorBody, ListEntry};

/// Requested entries for each page. The API documents disagree whether 999 or 1000 is the maximum.
pub const PAGE_LIMIT: usize = 999;

/// Most pages of one list. An instance has at most 1,000 tasks; more pages are for services that
/// return much smaller ones.
const PAGES_MAX: usize = 200;

/// Most tasks of one list: ten times what an instance may have. Each is kept in memory.
pub const LIST_MAX: usize = 10_000;

const NAME_MAX: usize = 256;

/// The attributes of the tasks of a list, equal ones once: most tasks share theirs with others.
#[derive(Debug, Default)]
struct Shared(BTreeSet<Arc<TaskAttributes>>);

impl Shared {
    fn share(&mut self, attributes: TaskAttributes) -> Arc<TaskAttributes> {
        if let Some(known) = self.0.get(&attributes) {
            return Arc::clone(known);
        }
        let shared = Arc::new(attributes);
        self.0.insert(Arc::clone(&shared));
        shared
    }
}

/// Reads one page, unless `known` has the page that this digest stands for.
///
/// A bad entry spoils no other: a task with an unknown `status` is in the list with an unknown
/// state. An entry without a usable ID cannot be in any group and is skipped.
///
/// # Errors
/// When the response is an error (HTTP 200 included), or malformed.
pub fn parse_page(
    context: &RequestContext<'_>,
    response: &HttpResponse,
    attributes: Attributes,
    known: impl FnOnce(Digest) -> Option<Page>,
) -> Result<Page, CallError> {
    if response.status != 200 {
        return Err(classify(context, response));
    }
    let digest = Digest::of(&response.body);
    if let Some(page) = known(digest) {
        return Ok(page);
    }
    let Ok(page) = ListPage::decode(&response.body, LIST_MAX + 1, ListEntry::add) else {
        return Err(malformed_response(context, response, "its body is not the JSON of a task list"));
    };
    let Ok(total) = page.total.count() else {
        return Err(malformed_response(context, response, "its total is no number"));
    };
    let entries = match page.entities {
        Some(entries) => entries,
        None if !ErrorBody::find(&response.body).code.is_empty() => return Err(classify(context, response)),
        None if total.is_none() => return Err(malformed_response(context, response, "it holds no list")),
        None => Vec::new(),
    };
    let received = entries.len();
    let mut tasks = Vec::with_capacity(received);
    let mut skipped = 0;
    let mut shared = Shared::default();
    for entry in entries {
        let entry = entry.unwrap_or_default();
        let ids: Vec<TaskId> =
            entry.task_ids.iter().filter_map(Scalar::text).filter_map(|id| TaskId::new(id).ok()).collect();
        skipped += usize::from(ids.is_empty());
        // Which of several IDs is meant nobody knows, so none of their tasks is left out.
        let state = entry.state().filter(|_| ids.len() == 1);
        for id in ids {
            let name = single_line(&entry.task_name.text().unwrap_or_default(), NAME_MAX).into();
            let attributes = (attributes == Attributes::Keep).then(|| shared.share(entry.attributes()));
            tasks.push(Task { id, name, state, last_run: entry.last_run(), type_: entry.task_type(), attributes });
        }
    }
    Ok(Page { summary: PageSummary { digest, total, received, skipped, tasks: tasks.len() }, tasks })
}

/// A list while its pages come in.
#[derive(Debug)]
pub struct Listing<'a> {
    attributes: Attributes,
    /// The last list.
    known: Option<&'a Tasks>,
    tasks: Vec<Task>,
    places: HashMap<TaskId, usize>,
    pages: Vec<PageSummary>,
    received: usize,
    skipped: usize,
    total: Option<usize>,
    shifted: bool,
}

/// What to do after a page.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Request the page that begins here.
    Page(usize),
    /// The list is complete.
    Complete,
    /// The pages are inconsistent.
    Inconsistent,
    /// There are more tasks than [`LIST_MAX`].
    TooLarge,
}

impl<'a> Listing<'a> {
    /// Of `known` only a list with the same attributes is used.
    pub fn new(attributes: Attributes, known: Option<&'a Tasks>) -> Self {
        Self {
            attributes,
            known: known.filter(|known| known.attributes() == attributes),
            tasks: Vec::new(),
            places: HashMap::new(),
            pages: Vec::new(),
            received: 0,
            skipped: 0,
            total: None,
            shifted: false,
        }
    }

    /// The next page, if it is as it was in the last list.
    pub fn known_page(&self, digest: Digest) -> Option<Page> {
        self.known?.page(self.pages.len(), digest)
    }

    /// Adds the page that was requested last.
    pub fn add(&mut self, page: Page) -> Next {
        let Page { summary, tasks } = page;
        let known = self.tasks.len();
        self.skipped += summary.skipped;
        // A task that was created or deleted between two pages shifts others across their border,
        // so tasks may be missing.
        self.shifted |= !self.pages.is_empty() && summary.total != self.total;
        self.pages.push(summary);
        self.received += summary.received;
        self.total = summary.total;
        for task in tasks {
            match self.places.entry(task.id.clone()) {
                // The later page is more recent.
                Entry::Occupied(index) => self.tasks[*index.get()] = task,
                Entry::Vacant(index) => {
                    index.insert(self.tasks.len());
                    self.tasks.push(task);
                }
            }
        }
        let brought_nothing = summary.received == 0 || self.tasks.len() == known && self.skipped == 0;
        match self.total {
            _ if self.received.max(self.total.unwrap_or(0)) > LIST_MAX => Next::TooLarge,
            Some(total) if self.received >= total || summary.received == 0 => self.is_consistent(total),
            // Without a total the list ends with the first page that brings nothing new.
            None if brought_nothing => Next::Complete,
            _ if self.pages.len() == PAGES_MAX => Next::Inconsistent,
            _ => Next::Page(self.received),
        }
    }

    fn is_consistent(&self, total: usize) -> Next {
        if self.shifted || self.tasks.len() + self.skipped < total { Next::Inconsistent } else { Next::Complete }
    }

    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The list: the last one itself if every page is as it was then.
    pub fn into_tasks(self) -> Tasks {
        let known = self.known.filter(|known| known.is_of_pages(&self.pages));
        known.cloned().unwrap_or_else(|| Tasks::of_pages(self.attributes, self.tasks, self.pages))
    }
}

/// The instance has more tasks than the operator lists.
pub fn too_large() -> CallError {
    let message = format!(
        "The instance has more than {LIST_MAX} tasks, which is more than the operator keeps in memory. \
         Delete tasks in ROMA Connect, or move them to another instance."
    );
    CallError::new(Class::Config, Cause::ListTooLarge, "ListTooLarge", &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdi::auth::sign_in::Method;
    use crate::fdi::text::Redactor;
    use crate::fdi::{Class, Operation, RunState, TaskType};

    fn read(body: &str) -> Result<Page, CallError> {
        let redactor = Redactor::new(Vec::new());
        let context =
            RequestContext { operation: Operation::List, method: Method::Token, redactor: &redactor, tasks: 1 };
        let response = HttpResponse { status: 200, body: body.as_bytes().to_vec(), ..HttpResponse::default() };
        parse_page(&context, &response, Attributes::Keep, |_| None)
    }

    fn entities(ids: std::ops::Range<usize>, total: &str) -> Page {
        let entries: Vec<_> = ids.map(|id| format!(r#"{{"task_id":"t{id}","status":1}}"#)).collect();
        read(&format!(r#"{{"total":{total},"entities":[{}]}}"#, entries.join(","))).unwrap()
    }

    #[test]
    fn pages_follow_what_was_received_until_the_total_is_there() {
        let mut list = Listing::new(Attributes::Keep, None);
        assert_eq!(list.add(entities(0..300, "700")), Next::Page(300));
        assert_eq!(list.add(entities(300..600, "700")), Next::Page(600));
        assert_eq!(list.add(entities(600..700, "700")), Next::Complete);
        assert_eq!(list.tasks.len(), 700);
        assert_eq!(
            Listing::new(Attributes::Keep, None).add(read(r#"{"total":0,"entities":null}"#).unwrap()),
            Next::Complete
        );
        assert_eq!(Listing::new(Attributes::Keep, None).add(read(r#"{"total":0}"#).unwrap()), Next::Complete);
    }

    #[test]
    fn without_a_total_the_list_ends_where_nothing_new_comes() {
        let mut list = Listing::new(Attributes::Keep, None);
        assert_eq!(list.add(entities(0..3, "null")), Next::Page(3));
        assert_eq!(list.add(entities(3..3, "null")), Next::Complete);
        let mut list = Listing::new(Attributes::Keep, None);
        assert_eq!(list.add(entities(0..3, "null")), Next::Page(3));
        assert_eq!(list.add(entities(0..3, "null")), Next::Complete, "a service that ignores the offset");
    }

    #[test]
    fn a_task_on_two_pages_is_one_as_the_later_page_saw_it_and_the_list_is_not_complete() {
        let mut list = Listing::new(Attributes::Keep, None);
        list.add(entities(0..2, "4"));
        let later =
            read(r#"{"total":4,"entities":[{"task_id":"t1","status":0},{"task_id":"t2","status":1}]}"#).unwrap();
        assert_eq!(list.add(later), Next::Inconsistent, "three tasks of four");
        assert_eq!(list.tasks[1].state, Some(RunState::Stopped));
    }

    #[test]
    fn a_total_that_changes_between_pages_or_is_never_reached_is_inconsistent() {
        let mut list = Listing::new(Attributes::Keep, None);
        list.add(entities(0..3, "6"));
        assert_eq!(list.add(entities(3..5, "5")), Next::Inconsistent, "one was deleted: another may have slipped by");
        let mut list = Listing::new(Attributes::Keep, None);
        list.add(entities(0..3, "6"));
        assert_eq!(list.add(entities(3..3, "6")), Next::Inconsistent);
    }

    #[test]
    fn an_endless_list_ends() {
        let mut list = Listing::new(Attributes::Keep, None);
        let mut pages = 0;
        loop {
            pages += 1;
            match list.add(entities(pages..pages + 1, "10000")) {
                Next::Page(_) => {}
                end => break assert_eq!(end, Next::Inconsistent),
            }
        }
        assert_eq!(pages, PAGES_MAX);
    }

    #[test]
    fn an_entry_without_a_usable_id_is_skipped_and_counted() {
        let page = read(
            r#"{"total":7,"entities":[{"task_id":"a b","status":"?"},{"status":1},{"task_id":7,"status":1},1,null,"x",[]]}"#,
        );
        let mut list = Listing::new(Attributes::Keep, None);
        assert_eq!(list.add(page.unwrap()), Next::Complete);
        assert_eq!(list.skipped(), 6);
        assert_eq!(list.tasks[0].id.as_str(), "7");
    }

    #[test]
    fn a_list_of_more_tasks_than_can_be_kept_is_too_large() {
        assert_eq!(
            Listing::new(Attributes::Keep, None).add(entities(0..3, "10001")),
            Next::TooLarge,
            "known from the first page"
        );
        assert_eq!(Listing::new(Attributes::Keep, None).add(entities(0..LIST_MAX + 5, "null")), Next::TooLarge);
        assert_eq!(Listing::new(Attributes::Keep, None).add(entities(0..LIST_MAX, "10000")), Next::Complete);
    }

    #[test]
    fn a_bad_entry_is_a_task_of_unknown_state_and_spoils_no_other() {
        let fields = [
            r#""status":2"#,
            r#""status":null"#,
            r#""status":"STARTING""#,
            r#""status":[1]"#,
            r#""status":1e999"#,
            r#""status":1,"status":0"#,
            r#""task_name":"no status""#,
        ];
        for field in fields {
            let body =
                format!(r#"{{"total":2,"entities":[{{"task_id":"odd",{field}}},{{"task_id":"a","status":1}}]}}"#);
            let tasks = read(&body).unwrap().tasks;
            let states: Vec<_> = tasks.iter().map(|task| (task.id.as_str(), task.state)).collect();
            assert_eq!(states, [("odd", None), ("a", Some(RunState::Running))], "{field}");
        }
    }

    #[test]
    fn a_list_has_the_type_of_each_task_and_its_attributes_where_they_are_kept_equal_ones_once() {
        let page = read(
            r#"{"total":4,"entities":[
                {"task_id":"a","task_type":"TIMING","task_tag":"nightly","source_app_id":"s","target_app_id":null},
                {"task_id":"b","task_type":"timing","task_tag":"nightly","source_app_id":"s"},
                {"task_id":"c","task_type":"REALTIME","ext_type":"CDC","task_tag":["x"]},
                {"task_id":"d","task_type":"REALTIME","ext_type":null,"target_app_id":7},
                {"task_id":"e","task_type":"BATCH"}]}"#,
        );
        let tasks = page.unwrap().tasks;
        let types: Vec<_> = tasks.iter().map(|task| task.type_.map(TaskType::as_str)).collect();
        assert_eq!(types, [Some("Scheduled"), Some("Scheduled"), Some("Composite"), Some("RealTime"), None]);
        let attributes: Vec<_> = tasks.iter().map(|task| task.attributes.clone().unwrap()).collect();
        assert_eq!((&*attributes[0].tag, &*attributes[0].source_app, &*attributes[0].target_app), ("nightly", "s", ""));
        assert!(Arc::ptr_eq(&attributes[0], &attributes[1]), "one text for both");
        assert_eq!((&*attributes[2].tag, &*attributes[3].target_app), ("", "7"));
    }

    #[test]
    fn an_entry_with_two_ids_stands_for_both_with_an_unknown_state() {
        let page = read(r#"{"total":1,"entities":[{"task_id":"a","status":1,"task_id":"b"}]}"#).unwrap();
        let states: Vec<_> = page.tasks.iter().map(|task| (task.id.as_str(), task.state)).collect();
        assert_eq!((states, page.summary.skipped), (vec![("a", None), ("b", None)], 0));
        let page = read(r#"{"total":1,"entities":[{"task_id":"a","status":1,"task_id":"a"}]}"#).unwrap();
        assert_eq!(page.tasks[0].state, Some(RunState::Running), "the same twice is one");
    }

    #[test]
    fn names_are_read_as_far_as_they_are_readable_and_made_printable() {
        for (name, expected) in [
            (&br#""\ud83d""#[..], "\u{fffd}"),
            (b"\"\xff\xfe\"", "??"),
            (br#""a\u0000\u202eb\u200fc""#, "a bc"),
            (b"\"a\nb\"", "a b"),
            (br#""a","task_name":"b""#, ""),
            (br#"{"de":"x"}"#, ""),
        ] {
            let mut body = br#"{"total":1,"entities":[{"task_id":"a","status":1,"task_name":"#.to_vec();
            body.extend_from_slice(name);
            body.extend_from_slice(b"}]}");
            crate::fdi::json::mend(&mut body);
            let task = read(std::str::from_utf8(&body).unwrap()).unwrap().tasks.remove(0);
            assert_eq!((&*task.name, task.state), (expected, Some(RunState::Running)));
        }
    }

    #[test]
    fn an_error_object_with_http_200_is_an_error_and_an_empty_object_malformed() {
        assert_eq!(read(r#"{"error_code":"ROMA.1002","error_msg":"x"}"#).unwrap_err().class, Class::SignIn);
        assert_eq!(read(r#"{"error_code":"APIGW.0308"}"#).unwrap_err().class, Class::Throttled);
        assert_eq!(read("{}").unwrap_err().class, Class::Unavailable);
        assert_eq!(read(r#"{"total":-1,"entities":[]}"#).unwrap_err().class, Class::Unavailable);
    }
}
