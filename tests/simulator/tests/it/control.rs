//! The control API over HTTP.

use fdi_simulator::{Options, Simulator};
use serde_json::{Value, json};

use crate::caller::{INSTANCE, PROJECT};
use crate::sockets::client;

struct Control {
    sim: Simulator,
    base: String,
    client: reqwest::Client,
}

impl Control {
    async fn start() -> Self {
        let sim = Simulator::start(Options { record_headers: true, ..Options::default() }).await.unwrap();
        let base = format!("{}/_sim", sim.url());
        Self { sim, base, client: client(None) }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn list(&self, token: &str) -> (u16, Value) {
        let url = format!("{}/v2/{PROJECT}/fdi/instances/{INSTANCE}/tasks", self.sim.url());
        let answer = self.client.get(url).header("x-auth-token", token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn at(rest: &str) -> String {
    format!("/instances/{PROJECT}/{INSTANCE}{rest}")
}

#[tokio::test]
async fn tasks_are_created_read_switched_given_manners_and_deleted() {
    let control = Control::start().await;
    let new = json!({"count": 2, "names": ["first"], "prefix": "orders", "running": true, "task_type": "REALTIME"});
    let (status, made) = control.send("POST", &at("/tasks"), new).await;
    assert_eq!(status, 200, "{made}");
    let tasks = control.get(&at("/tasks")).await;
    assert_eq!((&tasks[1]["name"], &tasks[1]["running"]), (&json!("orders-2"), &json!(true)));
    let id = made["task_ids"][0].as_str().unwrap();
    let change = json!({
        "running": false, "last_run": "ERROR", "name": "renamed",
        "manners": [{"kind": "no-schedule-plan"}, {"kind": "settles-after", "ms": 5},
            {"kind": "refuses", "code": "C", "message": "m", "action": "stop", "times": 2}],
    });
    let (status, task) = control.send("PATCH", &at(&format!("/tasks/{id}")), change).await;
    assert_eq!(
        (status, &task["running"], &task["last_run"], &task["name"]),
        (200, &json!(false), &json!("ERROR"), &json!("renamed"))
    );
    assert_eq!(task["manners"].as_array().unwrap().len(), 3);
    assert_eq!(control.send("DELETE", &at(&format!("/tasks/{id}")), Value::Null).await.0, 200);
    let (status, error) = control.send("DELETE", &at(&format!("/tasks/{id}")), Value::Null).await;
    assert_eq!((status, &error["error"]), (404, &json!(format!("the simulated instance has no task \"{id}\""))));
    assert_eq!(control.get("/").await["instances"][0]["tasks"], 1);
    assert_eq!(control.get("").await["instances"][0]["tasks"], 1);
    assert_eq!(
        control.send("GET", "/nowhere", Value::Null).await.1["error"],
        "the control API has no such path or method"
    );
}

#[tokio::test]
async fn runs_are_recorded_made_to_fail_and_cured_over_http() {
    let control = Control::start().await;
    control.send("POST", &at("/tasks"), json!({"ids": ["a"], "running": true})).await;
    let run = json!({"execute_status": "ERROR", "code": 914});
    let (status, runs) = control.send("POST", &at("/tasks/a/runs"), run).await;
    assert_eq!((status, &runs[0]["code"], &runs[0]["execute_status"]), (200, &json!(914), &json!("ERROR")));
    let (status, task) = control.send("PUT", &at("/tasks/a/failing-runs"), json!({"code": 103})).await;
    assert_eq!((status, &task["last_run"]), (200, &json!("ERROR")), "{task}");
    let (_, task) = control.send("DELETE", &at("/tasks/a/failing-runs"), Value::Null).await;
    assert_eq!((&task["last_run"], &task["manners"]), (&json!("SUCCESS"), &json!([])));
    let codes: Vec<_> =
        control.get(&at("/tasks/a/runs")).await.as_array().unwrap().iter().map(|run| run["code"].clone()).collect();
    assert_eq!(codes, [914, 103, 901]);
}

#[tokio::test]
async fn policies_are_changed_field_by_field_and_nonsense_is_refused() {
    let control = Control::start().await;
    control.send("PUT", &at(""), Value::Null).await;
    let (status, policies) = control.send("PATCH", "/policies", json!({"unknown_id": "failure-item"})).await;
    assert_eq!((status, &policies["unknown_id"], &policies["page_cap"]), (200, &json!("failure-item"), &json!(999)));
    let (_, own) = control.send("PATCH", &at("/policies"), json!({"settle_ms": 9})).await;
    assert_eq!((&own["settle_ms"], &own["unknown_id"]), (&json!(9), &json!("failure-item")));
    assert_eq!(control.get("/policies").await["settle_ms"], 0);
    for nonsense in [json!({"unknown_id": "maybe"}), json!({"no_such_policy": 1})] {
        assert_eq!(control.send("PATCH", "/policies", nonsense).await.0, 400);
    }
}

#[tokio::test]
async fn tokens_faults_refusals_and_the_log_work_over_http() {
    let control = Control::start().await;
    control.send("POST", &at("/tasks"), json!({"ids": ["a", "b"]})).await;
    control.send("POST", "/tokens", json!({"token": "t", "project": PROJECT, "valid_seconds": 60})).await;
    assert_eq!(control.list("t").await.1["total"], 2);
    let fault = json!({"operation": "list", "times": 1, "kind": "answer", "status": 503, "body": "{}"});
    let (status, set) = control.send("POST", "/faults", fault).await;
    assert_eq!((status, &set["id"]), (200, &json!(1)), "{set}");
    for misspelt in [
        json!({"opertion": "list", "kind": "cut"}),
        json!({"operation": "list", "kind": "frozen"}),
        json!({"kind": "no-such-kind"}),
    ] {
        assert_eq!(control.send("POST", "/faults", misspelt).await.0, 422);
    }
    assert_eq!(control.list("t").await.0, 503);
    assert_eq!(control.get("/faults").await[0]["struck"], 1);
    assert_eq!(control.send("DELETE", "/faults/1", Value::Null).await.0, 200);
    control.send("POST", "/tokens/expire", json!({"token": "t"})).await;
    assert_eq!(control.list("t").await.1["error_code"], "APIGW.0307");
    let frozen = json!({"status": 400, "code": "FDI.3099", "message": "frozen"});
    assert_eq!(control.send("PUT", &at("/refusal"), frozen).await.0, 200);
    let calls = control.get(&format!("/calls?operation=list&instance={INSTANCE}&since=1")).await;
    let statuses: Vec<_> = calls.as_array().unwrap().iter().map(|call| call["status"].clone()).collect();
    assert_eq!(statuses, [503, 401]);
    assert!(calls[0]["headers"].as_array().unwrap().contains(&json!(["x-auth-token", "…"])));
    let counts = control.get("/counts").await;
    assert_eq!((&counts["requests"]["list"], &counts["sign_ins_refused"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn accepted_keys_are_set_per_instance_over_http() {
    let control = Control::start().await;
    control.send("POST", &at("/tasks"), json!({"count": 1})).await;
    control.send("POST", "/tokens", json!({"token": "t", "project": PROJECT})).await;
    assert_eq!(control.send("PUT", &at("/accepted-keys"), json!({"keys": ["AK"]})).await.0, 200);
    assert_eq!(control.list("t").await.0, 200, "tokens are not affected");
    assert_eq!(control.send("DELETE", &at("/accepted-keys"), Value::Null).await.0, 200);
    let elsewhere = format!("/instances/{PROJECT}/elsewhere/accepted-keys");
    assert_eq!(control.send("DELETE", &elsewhere, Value::Null).await.0, 404);
}

#[tokio::test]
async fn keys_users_and_projects_are_set_over_http() {
    let control = Control::start().await;
    assert_eq!(control.send("PUT", "/projects/p1", json!({"name": "cn-north-4"})).await.0, 200);
    assert_eq!(control.send("PUT", "/keys/AK", json!({"secret": "SK", "projects": ["p1"]})).await.0, 200);
    assert_eq!(control.send("DELETE", "/keys/AK", Value::Null).await.0, 200);
    assert_eq!(control.send("DELETE", "/keys/AK", Value::Null).await.0, 404);
    let user = json!({"domain": "D", "name": "U", "password": "P", "state": "console-only"});
    assert_eq!(control.send("PUT", "/users", user).await.0, 200);
    assert_eq!(control.send("DELETE", "/users/D/U", Value::Null).await.0, 200);
    assert_eq!(control.get("/").await["projects"], json!([{"id": "p1", "name": "cn-north-4"}]));
}
