//! Which operation a method and path stand for.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::log::Operation;

/// A request's operation and what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Batch { project: String, instance: String },
    List { project: String, instance: String },
    Show { project: String, instance: String, task: String },
    Token,
    TokenCheck,
    Projects,
    Other,
}

impl Route {
    /// `path` is percent-encoded, as received. A slash at the end is tolerated.
    pub fn of(method: &Method, path: &str) -> Self {
        let decoded: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let is = |wanted: &Method| method == wanted;
        match segments.as_slice() {
            ["v3", "auth", "tokens"] if is(&Method::POST) => Self::Token,
            ["v3", "auth", "tokens"] if is(&Method::GET) => Self::TokenCheck,
            ["v3", "projects"] if is(&Method::GET) => Self::Projects,
            ["v2", project, "fdi", "instances", instance, rest @ ..] if !project.is_empty() && !instance.is_empty() => {
                let (project, instance) = ((*project).to_owned(), (*instance).to_owned());
                match rest {
                    ["batch-operation", "tasks"] if is(&Method::POST) => Self::Batch { project, instance },
                    ["tasks"] if is(&Method::GET) => Self::List { project, instance },
                    ["tasks", task] if is(&Method::GET) => Self::Show { project, instance, task: (*task).to_owned() },
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }

    pub fn operation(&self) -> Operation {
        match self {
            Self::Batch { .. } => Operation::Batch,
            Self::List { .. } => Operation::List,
            Self::Show { .. } => Operation::Show,
            Self::Token => Operation::Token,
            Self::TokenCheck => Operation::TokenCheck,
            Self::Projects => Operation::Projects,
            Self::Other => Operation::Other,
        }
    }

    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Batch { project, .. } | Self::List { project, .. } | Self::Show { project, .. } => Some(project),
            _ => None,
        }
    }

    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Batch { instance, .. } | Self::List { instance, .. } | Self::Show { instance, .. } => Some(instance),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_by_method_and_decoded_segment_by_segment() {
        let base = "/v2/p/fdi/instances/i";
        let own = |text: &str| text.to_owned();
        let of = |method: &Method, rest: &str| Route::of(method, &format!("{base}{rest}"));
        assert_eq!(of(&Method::GET, "/tasks"), Route::List { project: own("p"), instance: own("i") });
        assert_eq!(of(&Method::POST, "/batch-operation/tasks"), Route::Batch { project: own("p"), instance: own("i") });
        assert_eq!(
            of(&Method::GET, "/tasks/x%20y%2Fz"),
            Route::Show { project: own("p"), instance: own("i"), task: own("x y/z") }
        );
        assert_eq!(of(&Method::POST, "/tasks"), Route::Other);
        assert_eq!(of(&Method::GET, "/batch-operation/tasks"), Route::Other);
        assert_eq!(Route::of(&Method::GET, "/v3/projects/"), Route::Projects);
        assert_eq!(Route::of(&Method::GET, "/"), Route::Other);
    }
}
