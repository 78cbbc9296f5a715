//! Reading the list of an instance by itself, for benches: two pages as the service sends them.

use crate::fdi::auth::sign_in::Method;
use crate::fdi::classify::RequestContext;
use crate::fdi::json::mend;
use crate::fdi::observer::Operation;
use crate::fdi::task::{Attributes, Task};
use crate::fdi::task_list::{Listing, PAGE_LIMIT, parse_page};
use crate::fdi::tasks::Tasks;
use crate::fdi::text::Redactor;
use crate::fdi::transport::HttpResponse;

/// The responses that together list the tasks of an instance.
#[derive(Debug)]
pub struct SampleList(Vec<HttpResponse>);

impl SampleList {
    pub fn of(tasks: &[Task]) -> Self {
        let pages = tasks.chunks(PAGE_LIMIT).map(|page| {
            let entries: Vec<String> = page.iter().map(entry).collect();
            let (total, size, entries) = (tasks.len(), page.len(), entries.join(","));
            let body = format!(r#"{{"total":{total},"size":{size},"entities":[{entries}]}}"#);
            HttpResponse { status: 200, body: body.into_bytes(), ..HttpResponse::default() }
        });
        Self(pages.collect())
    }

    /// What is done with the responses once they are there.
    pub fn read(&mut self, known: Option<&Tasks>) -> Tasks {
        let redactor = Redactor::new(Vec::new());
        let context =
            RequestContext { operation: Operation::List, method: Method::Token, redactor: &redactor, tasks: 0 };
        let attributes = Attributes::Omit;
        let mut listing = Listing::new(attributes, known);
        for response in &mut self.0 {
            mend(&mut response.body);
            if let Ok(page) = parse_page(&context, response, attributes, |digest| listing.known_page(digest)) {
                listing.add(page);
            }
        }
        listing.into_tasks()
    }
}

/// A task with every field that the service has.
fn entry(task: &Task) -> String {
    let (id, name) = (&task.id, &task.name);
    format!(
        r#"{{"task_id":"{id}","task_name":"{name}","task_type":"TIMING","status":1,"created_date":"2026-01-02 03:04:05","version":"1.0","last_modified_time":1767323045000,"execute_status":"SUCCESS","source_app_id":"5ab10a2b-7d9a-4a3e-8f1e-000000000001","target_app_id":"5ab10a2b-7d9a-4a3e-8f1e-000000000002","source_instance_id":"instance-1","target_instance_id":"instance-1","ext_type":null,"enterprise_project_id":"0","task_tag":null}}"#
    )
}
