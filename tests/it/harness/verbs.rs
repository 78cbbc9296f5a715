//! What the operators of this process ask of the API server, as rights: written down and held against what is granted.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, OnceLock};

use fdi_operator::clients::Clients;
use http::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;

/// One right: verb, API group, resource with its subresource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub verb: String,
    pub group: String,
    pub resource: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.verb, self.group, self.resource)
    }
}

#[derive(Default)]
struct Book {
    used: BTreeSet<Right>,
    refused: BTreeSet<Right>,
}

fn book() -> &'static Mutex<Book> {
    static BOOK: OnceLock<Mutex<Book>> = OnceLock::new();
    BOOK.get_or_init(Mutex::default)
}

/// Everything used so far.
pub fn used() -> BTreeSet<Right> {
    book().lock().unwrap().used.clone()
}

/// Everything that was refused with 403.
pub fn refused() -> BTreeSet<Right> {
    book().lock().unwrap().refused.clone()
}

/// The same clients, with every request written down.
pub fn recorded(clients: Clients) -> Clients {
    let namespace = clients.namespace.clone();
    let layer = |inner: Client| {
        let asked = tower::service_fn(move |request: Request<Body>| {
            let inner = inner.clone();
            async move {
                let right = right(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
                let answer = inner.send(request).await?;
                let mut book = book().lock().unwrap();
                if answer.status() == StatusCode::FORBIDDEN {
                    book.refused.insert(right.clone());
                }
                book.used.insert(right);
                Ok::<_, tower::BoxError>(answer)
            }
        });
        Client::new(asked, namespace.clone())
    };
    Clients {
        watch: layer(clients.watch),
        requests: layer(clients.requests),
        lease: layer(clients.lease),
        namespace: clients.namespace,
    }
}

/// The right that a request needs, as the API server derives it from method and path.
fn right(method: &Method, path: &str, query: &str) -> Right {
    let mut parts = path.trim_matches('/').split('/');
    let group = if parts.next() == Some("api") { "" } else { parts.next().unwrap() };
    let _version = parts.next();
    let mut rest: Vec<&str> = parts.collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    let named = rest.len() > 1;
    let verb = match (method.as_str(), named) {
        ("GET", false) if query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1") => "watch",
        ("GET", false) => "list",
        ("GET", true) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        (other, _) => other,
    };
    let resource = match rest[..] {
        [resource, _, subresource] => format!("{resource}/{subresource}"),
        [resource, ..] => resource.to_owned(),
        [] => String::new(),
    };
    Right { verb: verb.to_owned(), group: group.to_owned(), resource }
}
