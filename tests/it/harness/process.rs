//! The operator as a process of its own: the real binary with flags, signals, a log and an admin
//! port.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Cluster, TIMEOUT, TestEnv};

/// A running operator. Dropping it sends SIGKILL.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    line_count: watch::Receiver<usize>,
    reading: JoinHandle<()>,
    http: reqwest::Client,
}

impl Process {
    /// For the test's namespace, with the shipped permissions and its Lease in the same namespace.
    pub fn start(env: &TestEnv, flags: &[&str]) -> Self {
        Self::start_in(env, flags, &[])
    }

    /// For the whole cluster unless the flags restrict it.
    pub fn of(cluster: &Cluster, flags: &[&str]) -> Self {
        Self::with_kubeconfig(&cluster.kubeconfig_path(), flags)
    }

    pub fn with_kubeconfig(kubeconfig: &Path, flags: &[&str]) -> Self {
        Self::listening(kubeconfig, "127.0.0.1:0", flags)
    }

    /// With its admin port at this address.
    pub fn listening(kubeconfig: &Path, address: &str, flags: &[&str]) -> Self {
        Self::spawn(kubeconfig, address, flags, &[])
    }

    /// As [`Self::start`], with more in its environment.
    pub fn start_in(env: &TestEnv, flags: &[&str], environment: &[(&str, &Path)]) -> Self {
        let (scope, lease) =
            (format!("--namespaces={}", env.namespace), format!("--lease-namespace={}", env.namespace));
        let flags = [&[scope.as_str(), lease.as_str()], flags].concat();
        Self::spawn(&env.cluster.kubeconfig_path(), "127.0.0.1:0", &flags, environment)
    }

    fn spawn(kubeconfig: &Path, address: &str, flags: &[&str], environment: &[(&str, &Path)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listen = format!("--listen-address={address}");
        let always = ["run", "--allow-insecure-endpoints", &listen, "--log-format=json"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_fdi-operator"))
            .args(always)
            .args(flags)
            .env("KUBECONFIG", kubeconfig)
            .envs(environment.iter().copied())
            .env_remove("HOSTNAME")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the operator's binary");
        let mut reader = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let (count, line_count) = watch::channel(0);
        let all = Arc::clone(&lines);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = reader.next_line().await {
                // Lines from before logging starts are plain text.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                all.lock().unwrap().push(line);
                count.send_modify(|n| *n += 1);
            }
        });
        Self { child, lines, line_count, reading, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// The timestamp of its newest log line.
    pub fn clock(&self) -> Option<jiff::Timestamp> {
        self.lines.lock().unwrap().last()?.get("timestamp")?.as_str()?.parse().ok()
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }

    /// Waits for the first line of the log that contains this text.
    pub async fn logged(&self, text: &str) -> Value {
        let mut line_count = self.line_count.clone();
        let found = async {
            loop {
                line_count.borrow_and_update();
                let line = self.lines.lock().unwrap().iter().find(|line| line.to_string().contains(text)).cloned();
                match line {
                    Some(line) => return line,
                    None => line_count.changed().await.expect("the process writes its log"),
                }
            }
        };
        let line = tokio::time::timeout(TIMEOUT, found).await;
        line.unwrap_or_else(|_| panic!("no '{text}' in the log within {TIMEOUT:?}:\n{}", self.log()))
    }

    /// Address of the admin port.
    pub async fn address(&self) -> String {
        self.logged("starting").await["address"].as_str().unwrap().to_owned()
    }

    /// Status code and body of the admin port.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let address = self.address().await;
        let response = self.http.get(format!("http://{address}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn wait_ready(&self) {
        let ready = async {
            while self.get("/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(TIMEOUT, ready).await.is_ok(), "not ready within {TIMEOUT:?}:\n{}", self.log());
    }

    /// Waits until this process holds the Lease.
    pub async fn wait_leading(&self) {
        self.logged("this process is the leader").await;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        let id = self.child.id().expect("the process runs");
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end. Returns its exit status and how long that took.
    pub async fn ended(&mut self, within: Duration) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        let took = began.elapsed();
        let status = ended.unwrap_or_else(|_| panic!("still running after {within:?}:\n{}", self.log()));
        // The last lines may still be in the pipe.
        if !self.reading.is_finished() {
            let _ = (&mut self.reading).await;
        }
        (status.unwrap(), took)
    }
}

/// Writes a kubeconfig without credentials for the API server at `server` into the folder.
pub fn kubeconfig_for(folder: &tempfile::TempDir, server: &str) -> std::path::PathBuf {
    let path = folder.path().join("kubeconfig");
    let yaml = format!(
        "{{apiVersion: v1, kind: Config, current-context: x, clusters: [{{name: x, cluster: {{server: '{server}'}}}}], \
         users: [{{name: x, user: {{}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
    );
    std::fs::write(&path, yaml).unwrap();
    path
}
