//! Pages that are as they were in the last list are not decoded again.

use proptest::prelude::*;

use crate::fdi::auth::sign_in::Method;
use crate::fdi::classify::RequestContext;
use crate::fdi::observer::Operation;
use crate::fdi::task::Attributes;
use crate::fdi::task_list::{Listing, Next, parse_page};
use crate::fdi::tasks::Tasks;
use crate::fdi::text::Redactor;
use crate::fdi::transport::HttpResponse;

/// The ID of an entry and its status; some have two IDs, or none.
type Entry = (u8, u8);

fn body(pages: &[Vec<Entry>], page: &[Entry]) -> String {
    let entry = |(id, status): &Entry| match id {
        0 => format!(r#"{{"status":{status}}}"#),
        1 => format!(r#"{{"task_id":"one","task_id":"two","status":{status}}}"#),
        id => format!(r#"{{"task_id":"t{id}","status":{status},"task_tag":"tag"}}"#),
    };
    let total: usize = pages.iter().map(Vec::len).sum();
    format!(r#"{{"total":{total},"entities":[{}]}}"#, page.iter().map(entry).collect::<Vec<_>>().join(","))
}

/// Reads the pages one after another. `None` where they are not consistent.
fn read(pages: &[Vec<Entry>], attributes: Attributes, known: Option<&Tasks>) -> Option<Tasks> {
    let redactor = Redactor::new(Vec::new());
    let context = RequestContext { operation: Operation::List, method: Method::Token, redactor: &redactor, tasks: 0 };
    let mut listing = Listing::new(attributes, known);
    let mut next = Next::Complete;
    for page in pages {
        let response = HttpResponse { status: 200, body: body(pages, page).into_bytes(), ..HttpResponse::default() };
        let page = parse_page(&context, &response, attributes, |digest| listing.known_page(digest));
        next = listing.add(page.unwrap());
    }
    (next == Next::Complete).then(|| listing.into_tasks())
}

fn pages() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    prop::collection::vec(prop::collection::vec((0..12_u8, 0..3_u8), 1..4), 1..5)
}

proptest! {
    #[test]
    fn a_list_is_the_same_whether_the_last_one_is_known_or_not(
        before in pages(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..12_u8, 0..3_u8), 0..3),
    ) {
        let known = read(&before, Attributes::Keep, None);
        let mut now = before;
        for (page, entry, id, status) in edits {
            let page = page.index(now.len());
            let entry = entry.index(now[page].len());
            now[page][entry] = (id, status);
        }
        let read_anew = read(&now, Attributes::Keep, None);
        let read = read(&now, Attributes::Keep, known.as_ref());
        prop_assert_eq!(read.as_deref(), read_anew.as_deref());
    }
}

#[test]
fn a_list_that_has_not_changed_is_the_known_one_and_not_a_copy() {
    let pages = vec![vec![(3, 1), (2, 0)], vec![(4, 1)]];
    let known = read(&pages, Attributes::Omit, None).unwrap();
    let again = read(&pages, Attributes::Omit, Some(&known)).unwrap();
    assert_eq!(again.as_ptr(), known.as_ptr());
    let changed = read(&[vec![(3, 1), (2, 0)], vec![(4, 0)]], Attributes::Omit, Some(&known)).unwrap();
    assert_eq!(changed.iter().map(|task| task.id.as_str()).collect::<String>(), "t2t3t4");
    assert!(!changed.is_same(&known));
}

#[test]
fn a_list_without_attributes_does_not_serve_where_they_are_wanted() {
    let pages = vec![vec![(2, 1)]];
    let known = read(&pages, Attributes::Omit, None).unwrap();
    let wanted = read(&pages, Attributes::Keep, Some(&known)).unwrap();
    assert_eq!(&*wanted[0].attributes.as_ref().unwrap().tag, "tag");
}
