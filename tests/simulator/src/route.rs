//! Which operation a method and path name.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::log::Operation;

/// A request's operation and what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Fdi { project: String, instance: String, call: FdiCall },
    Token,
    TokenCheck,
    Projects,
    Other,
}

/// An operation of FDI, with the task and the run that its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FdiCall {
    Batch,
    List,
    Count,
    Show { task: String },
    Run { task: String },
    Terminate { task: String },
    MonitorInfos,
    MonitorLogs { task: String },
    MonitorLogDetail { task: String, run: String },
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
        match (method.as_str(), segments.as_slice()) {
            ("POST", ["v3", "auth", "tokens"]) => Self::Token,
            ("GET", ["v3", "auth", "tokens"]) => Self::TokenCheck,
            ("GET", ["v3", "projects"]) => Self::Projects,
            (method, ["v2", project, "fdi", "instances", instance, rest @ ..])
                if !project.is_empty() && !instance.is_empty() =>
            {
                let (project, instance) = ((*project).to_owned(), (*instance).to_owned());
                FdiCall::of(method, rest).map_or(Self::Other, |call| Self::Fdi { project, instance, call })
            }
            _ => Self::Other,
        }
    }

    pub fn operation(&self) -> Operation {
        match self {
            Self::Fdi { call, .. } => call.operation(),
            Self::Token => Operation::Token,
            Self::TokenCheck => Operation::TokenCheck,
            Self::Projects => Operation::Projects,
            Self::Other => Operation::Other,
        }
    }

    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Fdi { project, .. } => Some(project),
            _ => None,
        }
    }

    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Fdi { instance, .. } => Some(instance),
            _ => None,
        }
    }
}

impl FdiCall {
    fn of(method: &str, rest: &[&str]) -> Option<Self> {
        let own = |text: &str| text.to_owned();
        Some(match (method, rest) {
            ("POST", ["batch-operation", "tasks"]) => Self::Batch,
            ("GET", ["tasks"]) => Self::List,
            ("GET", ["statistics", "tasks"]) => Self::Count,
            ("GET", ["tasks", task]) => Self::Show { task: own(task) },
            ("POST", ["tasks", task, "run"]) => Self::Run { task: own(task) },
            ("POST", ["tasks", task, "terminate"]) => Self::Terminate { task: own(task) },
            ("GET", ["task-monitors"]) => Self::MonitorInfos,
            ("GET", ["tasks", task, "monitor-logs"]) => Self::MonitorLogs { task: own(task) },
            ("GET", ["tasks", task, "monitor-logs", run]) => Self::MonitorLogDetail { task: own(task), run: own(run) },
            _ => return None,
        })
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Batch => Operation::Batch,
            Self::List => Operation::List,
            Self::Count => Operation::Count,
            Self::Show { .. } => Operation::Show,
            Self::Run { .. } => Operation::Run,
            Self::Terminate { .. } => Operation::Terminate,
            Self::MonitorInfos => Operation::MonitorInfos,
            Self::MonitorLogs { .. } => Operation::MonitorLogs,
            Self::MonitorLogDetail { .. } => Operation::MonitorLogDetail,
        }
    }

    /// Whether it needs the action `roma:tasks:operate`.
    pub fn operates(&self) -> bool {
        matches!(self, Self::Batch | Self::Run { .. } | Self::Terminate { .. })
    }

    pub fn is_monitoring(&self) -> bool {
        matches!(self, Self::MonitorInfos | Self::MonitorLogs { .. } | Self::MonitorLogDetail { .. })
    }

    /// The task that the path names.
    pub fn task(&self) -> Option<&str> {
        match self {
            Self::Show { task }
            | Self::Run { task }
            | Self::Terminate { task }
            | Self::MonitorLogs { task }
            | Self::MonitorLogDetail { task, .. } => Some(task),
            Self::Batch | Self::List | Self::Count | Self::MonitorInfos => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_by_method_and_decoded_segment_by_segment() {
        let of = |method: &Method, rest: &str| match Route::of(method, &format!("/v2/p/fdi/instances/i{rest}")) {
            Route::Fdi { project, instance, call } if (&*project, &*instance) == ("p", "i") => Some(call),
            _ => None,
        };
        let task = || "x y/z".to_owned();
        assert_eq!(of(&Method::GET, "/tasks"), Some(FdiCall::List));
        assert_eq!(of(&Method::POST, "/batch-operation/tasks"), Some(FdiCall::Batch));
        assert_eq!(of(&Method::GET, "/tasks/x%20y%2Fz"), Some(FdiCall::Show { task: task() }));
        assert_eq!(of(&Method::POST, "/tasks/x%20y%2Fz/run"), Some(FdiCall::Run { task: task() }));
        assert_eq!(of(&Method::POST, "/tasks/x%20y%2Fz/terminate"), Some(FdiCall::Terminate { task: task() }));
        assert_eq!(of(&Method::GET, "/tasks/x%20y%2Fz/monitor-logs"), Some(FdiCall::MonitorLogs { task: task() }));
        assert_eq!(
            of(&Method::GET, "/tasks/x%20y%2Fz/monitor-logs/r"),
            Some(FdiCall::MonitorLogDetail { task: task(), run: "r".to_owned() })
        );
        assert_eq!(of(&Method::GET, "/statistics/tasks"), Some(FdiCall::Count));
        assert_eq!(of(&Method::GET, "/task-monitors"), Some(FdiCall::MonitorInfos));
        assert_eq!(of(&Method::POST, "/tasks"), None);
        assert_eq!(of(&Method::GET, "/tasks/x/run"), None);
        assert_eq!(of(&Method::GET, "/batch-operation/tasks"), None);
        assert_eq!(Route::of(&Method::GET, "/v3/projects/"), Route::Projects);
        assert_eq!(Route::of(&Method::GET, "/"), Route::Other);
    }
}
