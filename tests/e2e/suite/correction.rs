//! What the operator is for: keeping tasks as groups say, and telling which it could not.

use serde_json::{Value, json};

use crate::install::{OVERLAY, install};
use crate::orders::{Orders, condition};

#[tokio::test]
async fn what_somebody_stops_is_started_again() {
    install(OVERLAY).await;
    let orders = Orders::new("drift", 12).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    group.wait_ready().await;
    orders.simulator.switch(&orders.tasks[3], false).await;
    orders.simulator.switch(&orders.tasks[7], false).await;
    orders.simulator.wait_running("both run again", 12).await;
    group.wait_ready().await;
    orders.end().await;
}

#[tokio::test]
async fn another_desired_state_stops_them_all() {
    install(OVERLAY).await;
    let orders = Orders::new("wishes", 12).await;
    orders.group("nightly", "Running", &orders.tasks).await.wait_ready().await;
    let group = orders.group("nightly", "Stopped", &orders.tasks).await;
    group.wait_ready().await;
    assert!(orders.simulator.running().await.is_empty());
    orders.end().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_started_is_named_with_the_services_words() {
    install(OVERLAY).await;
    let orders = Orders::new("failures", 3).await;
    let words = "The data source is gone.";
    let manner = json!({"kind": "refuses", "code": "FDI.3999", "message": words});
    orders.simulator.create_with_manner("refused", manner).await;
    let mut tasks = orders.tasks.clone();
    tasks.push("refused".to_owned());
    let group = orders.group("nightly", "Running", &tasks).await;
    let told = |object: &Value| {
        object["status"]["failures"][0]["code"] == "FDI.3999" && object["status"]["readyTasks"] == "3/4"
    };
    let object = group.wait("the failure is told, and the others run", told).await;
    let failure = &object["status"]["failures"][0];
    assert_eq!((&failure["taskId"], &failure["action"]), (&json!("refused"), &json!("start")));
    assert!(failure["message"].as_str().unwrap().contains(words), "{failure}");
    assert_eq!(condition(&object, "Ready")["status"], "False");
    orders.end().await;
}
