//! A complete run of the real process at trace level, with a service that echoes every secret: none
//! of them is in what the operator logs, writes or serves.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fdi_simulator::{AccessKey, Effect, Manner, Operation, Trigger, User};
use serde_json::json;
use tokio::process::{Child, Command};

use super::{KEY, SECRET, apply, over_tls, private_cloud};
use crate::harness::{INSTANCE, PROJECT, TIMEOUT, TestEnv, kubeconfig, kubectl};

const SECRETS: [&str; 5] = [
    "leak-t0ken-MIIaBcDeFg+/==",
    "leak-s3cretKey-0123456789abcdef",
    "leak-s3curityToken-0123456789+/==",
    "leak-passw0rd with spaces",
    "leak-iam-t0ken-MIIXyZ",
];

struct Running {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Running {
    async fn start(env: &TestEnv) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let arguments =
            ["run", "--leader-election=false", "--listen-address=127.0.0.1:0", "--allow-insecure-endpoints"];
        let child = Command::new(env!("CARGO_BIN_EXE_fdi-operator"))
            .args(arguments)
            .args(["--log-filter=trace", &format!("--namespaces={}", env.namespace)])
            .env("KUBECONFIG", kubeconfig().await)
            .env("RUST_BACKTRACE", "full")
            .stdin(Stdio::null())
            .stdout(log.reopen().unwrap())
            .stderr(log.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    async fn end(mut self) -> String {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        assert!(self.child.wait().await.unwrap().success());
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

/// Everything in the namespace that the operator may have written: statuses, specs and events, not
/// the Secret.
async fn shown(env: &TestEnv) -> String {
    let kinds = "fdiinstances,fditaskgroups,events.events.k8s.io,events";
    let got = kubectl(&["get", kinds, "-o", "json", "--show-managed-fields", "-n", &env.namespace], "").await;
    assert!(got.status.success(), "{}", got.stderr);
    got.stdout
}

async fn wait_shown(env: &TestEnv, what: &str) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let text = shown(env).await;
        if text.contains(what) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} is nowhere in {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_logs_statuses_or_events_of_a_full_run_at_trace_level() {
    let [token, secret_key, security_token, password, iam_token] = SECRETS;
    let (env, ids) = private_cloud(12).await;
    for token in [token, iam_token] {
        env.sim.set_token(token, Some(PROJECT), Duration::from_hours(1));
    }
    let key = AccessKey { security_token: Some(security_token.into()), ..AccessKey::new(secret_key) };
    env.sim.set_key(KEY, key);
    env.sim.set_user(User::new("account", "operator", password));
    let iam = Effect::Answer {
        status: 201,
        headers: vec![("x-subject-token".into(), iam_token.into())],
        body: json!({"token": {"expires_at": "2099-01-01T00:00:00Z"}}).to_string(),
        acts: false,
    };
    env.sim.fault(Trigger::on(Operation::Token), iam);
    // One Secret with the values of all methods.
    let data = [
        ("token", token),
        ("accessKey", KEY),
        ("secretKey", secret_key),
        ("securityToken", security_token),
        ("domainName", "account"),
        ("userName", "operator"),
        ("password", password),
    ];
    env.secret(SECRET, &data).await;
    let operator = Running::start(&env).await;
    let ways: [(&str, &[&str]); 3] =
        [("token", &[token]), ("accessKey", &[secret_key, security_token]), ("password", &[password, iam_token])];
    let mut services = Vec::new();
    for (n, (auth, known)) in ways.into_iter().enumerate() {
        let id = format!("{INSTANCE}-{n}");
        let service = env.sim.instance(PROJECT, &id);
        let mut spec = over_tls(&env, auth);
        spec["instanceId"] = json!(id);
        let tasks = service.create_tasks(ids.len());
        // One task is always refused, with every secret in the message that the service knows of
        // this caller.
        let message = format!("refused {n}: {}", known.join(" | "));
        let refuses = Manner::Refuses { action: None, code: "FDI.9998".into(), message, times: None };
        service.set_manners(&tasks[0], [refuses]).unwrap();
        apply(&env, auth_name(auth), spec).await;
        let group = format!("orders-{n}");
        env.group_with(&group, "Running", &tasks, json!({"instanceRef": {"name": auth_name(auth)}})).await;
        wait_shown(&env, &format!("refused {n}: ***")).await;
        service.wait_until_all(true, &tasks[1..], TIMEOUT).await.unwrap();
        services.push((service, known));
    }
    // The gateway and IAM echo them too.
    env.sim.clear_faults();
    for (n, (service, known)) in services.into_iter().enumerate() {
        let message = format!("denied {n}: {}", known.join(" | "));
        service.fault(Trigger::all(), Effect::gateway(401, "APIGW.0301", &message));
    }
    let message = format!("denied 2: {password}");
    env.sim.fault(Trigger::on(Operation::Token), Effect::gateway(401, "IAM.0001", &message));
    for group in 0..3 {
        env.edit(&format!("orders-{group}"), json!({"desiredState": "Stopped"})).await;
    }
    for group in 0..3 {
        wait_shown(&env, &format!("denied {group}: ***")).await;
    }
    let objects = shown(&env).await;
    let log = operator.end().await;
    assert!(log.lines().count() > 200 && log.contains("\"TRACE\""), "a log at trace level");
    for (what, text) in [("the log", &log), ("the objects and events", &objects)] {
        for secret in SECRETS {
            // The whole secret, or enough of it to be useful.
            for part in [secret, &secret[..16], &secret[8..]] {
                assert!(!text.contains(part), "{what} shows {secret}: {}", around(text, part));
            }
        }
        assert!(!text.contains("bGVhay"), "{what} shows a value as the API server encodes it");
    }
}

fn auth_name(auth: &str) -> &'static str {
    match auth {
        "token" => "by-token",
        "accessKey" => "by-key",
        _ => "by-password",
    }
}

fn around<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines().find(|line| line.contains(part)).unwrap_or_default()
}
