//! The operator as the real binary in a process of its own, with the shipped rights.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::SOON;

/// A running operator. Dropping it kills it.
pub struct Process {
    child: Child,
    folder: TempDir,
    admin: String,
    line: Line,
}

impl Process {
    /// Starts one. Whatever it sends to the service goes through a line of its own, so that the callers can be told apart.
    pub async fn start(kubeconfig: &str, service: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("kubeconfig");
        std::fs::write(&config, kubeconfig).unwrap();
        let line = Line::to(service).await;
        let admin = free_address().await;
        let child = Command::new(env!("CARGO_BIN_EXE_fdi-operator"))
            .args(["run", "--allow-insecure-endpoints", &format!("--listen-address={admin}")])
            .args(flags)
            .env("KUBECONFIG", config)
            .env("HTTP_PROXY", &line.url)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .env_remove("http_proxy")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log_in(folder.path())).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, folder, admin: format!("http://{admin}"), line }
    }

    /// Sends a signal such as `STOP`.
    pub async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it still runs after {within:?}:\n{}", self.log()),
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_in(self.folder.path())).unwrap()
    }

    /// Waits until the log holds this text.
    pub async fn says(&self, text: &str, within: Duration) {
        let said = async {
            while !self.log().contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(within, said).await.is_ok(), "it never said '{text}':\n{}", self.log());
    }

    /// Status code and text of one of its own pages.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
        match client.get(format!("{}{path}", self.admin)).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// Waits until it is ready, its stores filled.
    pub async fn ready(&self) {
        let ready = async {
            while self.page("/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, ready).await.is_ok(), "it is not ready:\n{}", self.log());
    }

    /// When it sent something to the service.
    pub fn calls(&self) -> Vec<Instant> {
        self.line.calls.lock().unwrap().clone()
    }
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// An address that nobody listens on now.
async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// A way to the service that writes down when something was sent.
struct Line {
    url: String,
    calls: Arc<Mutex<Vec<Instant>>>,
    forwarding: JoinHandle<()>,
}

impl Line {
    async fn to(service: &str) -> Self {
        let service = service.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<Instant>>>::default();
        let written = Arc::clone(&calls);
        let forwarding = tokio::spawn(async move {
            loop {
                let (caller, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(caller, service.clone(), Arc::clone(&written)));
            }
        });
        Self { url, calls, forwarding }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(caller: TcpStream, service: String, calls: Arc<Mutex<Vec<Instant>>>) {
    let Ok(service) = TcpStream::connect(service).await else { return };
    let ((mut from, mut back), (mut answers, mut to)) = (caller.into_split(), service.into_split());
    let asking = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read) = from.read(&mut buffer).await {
            if read == 0 {
                break;
            }
            calls.lock().unwrap().push(Instant::now());
            if to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        _ = tokio::io::copy(&mut answers, &mut back) => {}
    }
}
