//! What only shows on sockets: connections cut, hung, dripping or flooded, latency, TLS, presets.

use std::time::Duration;

use fdi_simulator::{
    Action, Blackhole, Certificate, Clock, Effect, InstanceHandle, Operation, Options, Preset, Simulator, Trigger,
};
use serde_json::json;

use crate::caller::{INSTANCE, NOW, PROJECT};

const SOON: Duration = Duration::from_secs(10);

pub fn client(ca: Option<&str>) -> reqwest::Client {
    // Any test of this binary may be the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().timeout(SOON);
    let roots = ca.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    builder.tls_certs_only(roots).build().unwrap()
}

struct Live {
    sim: Simulator,
    instance: InstanceHandle,
    client: reqwest::Client,
}

impl Live {
    async fn start(options: Options) -> Self {
        let sim = Simulator::start(options).await.unwrap();
        let instance = sim.instance(PROJECT, INSTANCE);
        sim.set_token("t", Some(PROJECT), Duration::from_hours(1));
        let client = client(sim.ca_pem().as_deref());
        Self { sim, instance, client }
    }

    fn request(&self, base: &str, ids: Option<&[String]>) -> reqwest::RequestBuilder {
        let base = format!("{base}/v2/{PROJECT}/fdi/instances/{INSTANCE}");
        let request = match ids {
            None => self.client.get(format!("{base}/tasks?limit=999")),
            Some(ids) => {
                let list: Vec<_> = ids.iter().map(|id| json!({"task_id": id})).collect();
                let body = json!({"action_id": "start", "list": list});
                self.client.post(format!("{base}/batch-operation/tasks")).json(&body)
            }
        };
        request.header("x-auth-token", "t")
    }

    async fn list(&self) -> reqwest::Result<reqwest::Response> {
        self.request(&self.sim.url(), None).send().await
    }

    async fn start_tasks(&self, ids: &[String]) -> reqwest::Result<reqwest::Response> {
        self.request(&self.sim.url(), Some(ids)).send().await
    }
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_acting_and_the_next_request_gets_through() {
    let live = Live::start(Options::default()).await;
    let ids = live.instance.create_tasks(1);
    live.instance.fault(Trigger::on(Operation::Batch).times(1), Effect::Cut { acts: false });
    assert!(live.start_tasks(&ids).await.is_err());
    assert!(live.instance.running().is_empty());
    live.instance.fault(Trigger::on(Operation::Batch).action(Action::Start).times(1), Effect::Cut { acts: true });
    assert!(live.start_tasks(&ids).await.is_err());
    assert_eq!(live.instance.running(), ids);
    assert_eq!(live.list().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_can_end_early_after_right_headers() {
    let live = Live::start(Options::default()).await;
    live.instance.create_tasks(3);
    live.instance.fault(Trigger::on(Operation::List).times(1), Effect::CutBody { bytes: 20 });
    let mut answer = live.list().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.chunk().await.unwrap().unwrap().len(), 20);
    assert!(answer.chunk().await.is_err());
}

#[tokio::test]
async fn a_service_acts_late_even_when_the_caller_has_gone() {
    let clock = Clock::settable(NOW);
    let live = Live::start(Options::default().clock(clock.clone())).await;
    let ids = live.instance.create_tasks(1);
    live.instance.fault(Trigger::on(Operation::Batch), Effect::Delay { before_ms: 60_000, after_ms: 0 });
    let request = live.request(&live.sim.url(), Some(&ids)).timeout(Duration::from_millis(300));
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!((live.instance.batch_calls().len(), live.instance.running().len()), (1, 0));
    clock.advance(Duration::from_mins(1));
    live.instance.wait_until_all(true, &ids, SOON).await.unwrap();
}

#[tokio::test]
async fn latency_after_acting_shows_the_effect_before_the_answer() {
    let clock = Clock::settable(NOW);
    let live = Live::start(Options::default().clock(clock.clone())).await;
    let ids = live.instance.create_tasks(1);
    live.instance.fault(Trigger::on(Operation::Batch), Effect::Delay { before_ms: 0, after_ms: 5_000 });
    let sent = tokio::spawn(live.request(&live.sim.url(), Some(&ids)).send());
    live.instance.wait_until_all(true, &ids, SOON).await.unwrap();
    assert!(!sent.is_finished());
    clock.advance(Duration::from_secs(5));
    assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    let call = live.instance.batch_calls().remove(0);
    assert_eq!((call.acted_at, call.answered_at), (Some(NOW), Some(NOW + 5_000)));
}

#[tokio::test]
async fn a_hung_request_gets_nothing_and_others_are_not_held_up() {
    let live = Live::start(Options::default()).await;
    live.instance.fault(Trigger::on(Operation::List).times(1), Effect::Hang { acts: false });
    let hung = live.request(&live.sim.url(), None).timeout(Duration::from_millis(200));
    let (hung, other) = tokio::join!(hung.send(), async {
        live.sim.wait_for(SOON, |view| view.log().first().map(|_| ())).await.unwrap();
        live.list().await
    });
    assert!(hung.unwrap_err().is_timeout());
    assert_eq!(other.unwrap().status(), 200);
}

#[tokio::test]
async fn a_dripping_body_arrives_whole_in_the_end() {
    let live = Live::start(Options::default()).await;
    live.instance.create_tasks(1);
    live.instance.fault(Trigger::all(), Effect::Drip { bytes: 50, every_ms: 1 });
    let mut answer = live.list().await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = answer.chunk().await.unwrap() {
        pieces.push(piece);
    }
    assert!(pieces.len() > 2, "{} pieces", pieces.len());
    let whole: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
    assert_eq!(whole["total"], 1);
}

#[tokio::test]
async fn a_flood_has_exactly_the_size_asked_for_and_is_streamed() {
    let live = Live::start(Options::default()).await;
    let size = 5_000_000;
    live.instance.fault(Trigger::all(), Effect::Flood { bytes: size });
    let mut answer = live.list().await.unwrap();
    assert_eq!(answer.content_length(), None);
    let mut read = 0;
    while let Some(piece) = answer.chunk().await.unwrap() {
        read += piece.len() as u64;
    }
    assert_eq!(read, size);
}

#[tokio::test]
async fn while_connections_are_refused_the_control_listener_still_answers() {
    let control = Some("127.0.0.1:0".parse().unwrap());
    let live = Live::start(Options { listen_control: control, ..Options::default() }).await;
    assert_eq!(live.list().await.unwrap().status(), 200);
    live.sim.refuse_connections(true);
    assert!(live.list().await.is_err());
    let url = format!("{}/_sim/connections", live.sim.control_url().unwrap());
    let answer = live.client.put(url).json(&json!({"refuse": false})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(live.list().await.unwrap().status(), 200);
    assert_eq!(live.instance.list_calls().len(), 2);
}

#[tokio::test]
async fn held_connections_and_requests_get_nothing_and_are_served_when_released() {
    let control = Some("127.0.0.1:0".parse().unwrap());
    let options = Options { listen_control: control, ..Options::default() };
    let live = Live::start(options.tls(Certificate::Right)).await;
    assert_eq!(live.list().await.unwrap().status(), 200);
    let url = format!("{}/_sim/connections", live.sim.control_url().unwrap());
    let hold = |hold: bool| live.client.put(&url).json(&json!({"hold": hold})).send();
    assert_eq!(hold(true).await.unwrap().status(), 200);
    let short = Duration::from_millis(200);
    let plain = live.sim.url();
    let on_a_new_one = Live { client: client(None), ..Live::start(Options::default()).await };
    for request in [live.request(&plain, None), on_a_new_one.request(&plain, None)] {
        assert!(request.timeout(short).send().await.unwrap_err().is_timeout());
    }
    let impatient = reqwest::Client::builder().no_proxy().timeout(SOON).connect_timeout(short).build().unwrap();
    let handshake = impatient.get(live.sim.https_url().unwrap()).send().await.unwrap_err();
    assert!(handshake.is_connect() && handshake.is_timeout(), "{handshake:?}");
    assert_eq!(live.instance.list_calls().len(), 1, "nothing has arrived");
    let patient = tokio::spawn(live.request(&plain, None).send());
    assert_eq!(hold(false).await.unwrap().status(), 200);
    assert_eq!(patient.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn connecting_to_a_blackhole_hangs() {
    let blackhole = Blackhole::open().await.unwrap();
    let request = client(None).get(blackhole.url()).timeout(Duration::from_millis(500));
    let error = request.send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(blackhole.address()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tls_is_trusted_with_the_right_certificate_only() {
    let live = Live::start(Options::default().tls(Certificate::Right)).await;
    let url = live.sim.https_url().unwrap();
    assert!(url.starts_with("https://127.0.0.1:"));
    // A new client each time: an open connection keeps its certificate.
    let list = || async {
        Live { client: client(live.sim.ca_pem().as_deref()), ..Live::start(Options::default()).await }
            .request(&url, None)
            .send()
            .await
    };
    assert_eq!(list().await.unwrap().status(), 200);
    for certificate in [Certificate::Expired, Certificate::WrongName, Certificate::OtherCa] {
        live.sim.show_certificate(certificate).unwrap();
        assert!(list().await.unwrap_err().is_connect(), "{certificate:?}");
    }
    live.sim.show_certificate(Certificate::Right).unwrap();
    assert_eq!(list().await.unwrap().status(), 200);
    assert_eq!(live.instance.list_calls().len(), 2);
}

#[tokio::test]
async fn a_dropped_simulator_closes_its_port() {
    let live = Live::start(Options::default()).await;
    let url = live.sim.url();
    assert_eq!(live.list().await.unwrap().status(), 200);
    drop(live.sim);
    let gone = client(None).get(url).send().await;
    assert!(gone.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_preset_is_all_there_from_the_start() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let preset: Preset = serde_json::from_value(json!({
        "policies": {"settle_ms": 7},
        "projects": {"p": "cn-north-4"},
        "instances": [{"project": "p", "instance": "i", "tasks": [{"count": 2}, {"ids": ["x"], "running": true}]}],
        "tokens": [{"token": "t", "project": "p"}],
        "keys": {"AK": {"secret": "SK"}},
        "users": [{"domain": "D", "name": "U", "password": "P"}],
        "faults": [{"operation": "list", "times": 1, "kind": "delay", "after_ms": 1}],
    }))
    .unwrap();
    preset.apply(&sim);
    let instance = sim.find_instance("p", "i").unwrap();
    assert_eq!((instance.tasks().len(), instance.running()), (3, vec!["x".to_owned()]));
    assert_eq!((sim.policies().settle_ms, sim.faults().len(), &*sim.projects()["p"]), (7, 1, "cn-north-4"));
}
