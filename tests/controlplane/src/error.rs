//! What can go wrong, with messages that say what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("K8S={minor} is not a Kubernetes minor that is pinned here; pinned are: {pinned}")]
    UnknownRelease { minor: String, pinned: String },

    #[error("{} names no version of {module}: add the line `{module} vMAJOR.MINOR.PATCH` to its require block", .go_mod.display())]
    NoVersion { go_mod: PathBuf, module: &'static str },

    #[error(
        "KUBEBUILDER_ASSETS is {}, but there is no executable {file} in it: put it there, or unset the variable to have it built",
        .folder.display()
    )]
    MissingAsset { folder: PathBuf, file: &'static str },

    #[error(
        "neither XDG_CACHE_HOME nor HOME is set, so there is no cache folder: set one, or point KUBEBUILDER_ASSETS at the binaries"
    )]
    NoCacheFolder,

    #[error(
        "there is no Go to build {release} with: install Go 1.26 or newer, or, for Kubernetes, point KUBEBUILDER_ASSETS at a folder with \
         its programs and etcd"
    )]
    NoGo { release: String },

    #[error("`go build` of {release} failed; its last lines:\n{tail}")]
    Build { release: String, tail: String },

    #[error("{what} {}: {source}", .path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },

    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },

    #[error("{program} ended before the API server was ready; the last lines of its log:\n{log}")]
    Ended { program: &'static str, log: String },

    #[error(
        "the API server at {url} was not ready within {} s ({answer}); the last lines of its log:\n{log}\nand of etcd's:\n{etcd_log}",
        .waited.as_secs()
    )]
    NotReady { url: String, waited: Duration, answer: String, log: String, etcd_log: String },

    #[error("a node needs {missing}: {remedy}")]
    NodeCannotRun { missing: String, remedy: &'static str },

    #[error("`{command}` failed: {output}")]
    Command { command: String, output: String },

    #[error("the node was not ready within {} s: {answer}; the last lines of the logs:\n{logs}", .waited.as_secs())]
    NodeNotReady { waited: Duration, answer: String, logs: String },

    #[error("kube-apiserver is not running: call start_apiserver first")]
    NotRunning,

    #[error("the supervisor of {program} does not answer; another process probably killed {program}")]
    Supervisor { program: &'static str },

    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),

    #[error("no free port between {from} and {to} on 127.0.0.1")]
    NoPort { from: u16, to: u16 },

    #[error("cannot make the certificates: {0}")]
    Certificate(#[from] rcgen::Error),

    #[error("cannot set up TLS towards the API server: {0}")]
    Tls(#[from] rustls::Error),

    #[error("cannot set up the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

impl Error {
    /// For `map_err`: an I/O error with the operation that failed and its file.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }
}
