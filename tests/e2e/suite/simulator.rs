//! The simulator's pod, and one instance in it. It is asked through `kubectl proxy`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::cluster::{PATIENCE, file, get, kubectl, wait};

pub const PROJECT: &str = "0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "e2e";

/// One ROMA Connect instance, known by the name of the test's namespace.
pub struct Simulator {
    name: String,
    endpoint: String,
    control: String,
    client: reqwest::Client,
    _proxy: Child,
}

/// Where the operator finds the simulator, whose pod runs when this returns.
pub async fn endpoint() -> String {
    kubectl(&format!("apply --server-side --filename={}", file("tests/e2e/manifests/simulator.yaml").display())).await;
    let pod = "pod/simulator --namespace=fdi-simulator";
    kubectl(&format!("wait {pod} --for=condition=Ready --timeout={}s", PATIENCE.as_secs())).await;
    let address: IpAddr = get(pod).await["status"]["podIP"].as_str().unwrap().parse().unwrap();
    format!("http://{}", SocketAddr::from((address, 6443)))
}

impl Simulator {
    pub async fn instance_for(name: &str) -> Self {
        let endpoint = endpoint().await;
        let (proxy, port) = proxy().await;
        let control = format!("{port}/api/v1/namespaces/fdi-simulator/pods/simulator:6443/proxy/_sim");
        // reqwest wants to know whose cryptography it is to use, even for plain HTTP. Another test
        // may have said so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let simulator = Self { name: name.to_owned(), endpoint, control, client, _proxy: proxy };
        // A cluster that stayed has the tasks of an earlier run.
        for method in [Method::PUT, Method::DELETE, Method::PUT] {
            simulator.ask(method, &simulator.path(""), &Value::Null).await;
        }
        simulator
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn instance(&self) -> &str {
        &self.name
    }

    pub async fn create(&self, ids: Value) {
        self.ask(Method::POST, &self.path("/tasks"), &json!({"ids": ids})).await;
    }

    pub async fn create_with_manner(&self, id: &str, manner: Value) {
        self.ask(Method::POST, &self.path("/tasks"), &json!({"ids": [id], "manners": [manner]})).await;
    }

    pub async fn accept_key(&self, access: &str, secret: &str) {
        self.ask(Method::PUT, &format!("/keys/{access}"), &json!({"secret": secret})).await;
    }

    /// As a person at the console would.
    pub async fn switch(&self, task: &str, running: bool) {
        self.ask(Method::PATCH, &self.path(&format!("/tasks/{task}")), &json!({"running": running})).await;
    }

    /// The IDs of the tasks that run now.
    pub async fn running(&self) -> BTreeSet<String> {
        let tasks = self.ask(Method::GET, &self.path("/tasks"), &Value::Null).await;
        let tasks = tasks.as_array().or_else(|| tasks["tasks"].as_array()).unwrap();
        let running = tasks.iter().filter(|task| task["running"] == true);
        running.map(|task| task["id"].as_str().or_else(|| task["task_id"].as_str()).unwrap().to_owned()).collect()
    }

    pub async fn wait_running(&self, wish: &str, count: usize) {
        wait(wish, PATIENCE, async || self.running().await.len(), |running| *running == count).await;
    }

    fn path(&self, rest: &str) -> String {
        format!("/instances/{PROJECT}/{}{rest}", self.name)
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.control);
        let mut request = self.client.request(method, &url);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{url}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// A way through the API server, and its address.
async fn proxy() -> (Child, String) {
    let mut child = Command::new("kubectl")
        // The default filter refuses PATCH and what looks like exec.
        .args(["proxy", "--port=0", "--reject-methods=^$", "--reject-paths=^$"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.rsplit(' ').next().unwrap();
    (child, format!("http://{address}"))
}
