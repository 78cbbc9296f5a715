//! The election against a simulated API server on a paused clock: delays, lost requests, lost
//! answers, partitions, ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use kube::{Api, Client};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use super::{ElectionResult, Leadership, Lost, Params, elect};
use crate::time::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);

/// The one Lease, as the API server keeps it: at first one that nobody holds.
#[derive(Debug)]
struct Server {
    lease: Mutex<Option<Lease>>,
    version: Mutex<u64>,
    created: Mutex<Instant>,
}

impl Default for Server {
    fn default() -> Self {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some("0".to_owned());
        Self { lease: Mutex::new(Some(lease)), version: Mutex::default(), created: Mutex::new(Instant::now()) }
    }
}

impl Server {
    fn handle(&self, method: &Method, body: &[u8]) -> (StatusCode, serde_json::Value) {
        let mut stored = self.lease.lock().unwrap();
        let failed = |code: StatusCode, reason: &str| {
            let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": code.to_string(), "reason": reason, "code": code.as_u16()});
            (code, status)
        };
        let current = stored.as_ref().map(|lease| lease.metadata.resource_version.clone());
        let sent = || serde_json::from_slice::<Lease>(body).unwrap();
        let mut next = match (method, current) {
            (&Method::GET, Some(_)) => return (StatusCode::OK, serde_json::to_value(stored.as_ref()).unwrap()),
            (&Method::POST, None) => sent(),
            (&Method::PUT, Some(current)) if sent().metadata.resource_version == current => sent(),
            (&Method::POST | &Method::PUT, Some(_)) => return failed(StatusCode::CONFLICT, "Conflict"),
            _ => return failed(StatusCode::NOT_FOUND, "NotFound"),
        };
        let mut version = self.version.lock().unwrap();
        *version += 1;
        if stored.is_none() {
            *self.created.lock().unwrap() = Instant::now();
        }
        next.metadata.resource_version = Some(version.to_string());
        *stored = Some(next);
        (StatusCode::OK, serde_json::to_value(stored.as_ref()).unwrap())
    }

    fn spec<T>(&self, read: impl FnOnce(&k8s_openapi::api::coordination::v1::LeaseSpec) -> T) -> T {
        read(self.lease.lock().unwrap().as_ref().unwrap().spec.as_ref().unwrap())
    }
}

/// What lies between one candidate and the server.
#[derive(Debug, Default, Clone, Copy)]
struct Path {
    /// Longest delay in each direction, in milliseconds.
    delay: u64,
    /// Of 100 requests this many do not arrive, and of 100 answers as many are lost after the
    /// server acted.
    loss: u32,
    /// Nothing gets through, and nobody says so.
    cut: bool,
}

#[derive(Debug, Clone)]
struct Link {
    server: Arc<Server>,
    path: Arc<Mutex<Path>>,
    requests: Arc<Mutex<Vec<(Instant, Method)>>>,
}

impl Link {
    fn new(server: &Arc<Server>) -> Self {
        Self { server: server.clone(), path: Arc::default(), requests: Arc::default() }
    }

    fn set(&self, path: Path) {
        *self.path.lock().unwrap() = path;
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn client(&self, seed: u64) -> Client {
        let link = self.clone();
        let dice = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (link, dice) = (link.clone(), dice.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                link.requests.lock().unwrap().push((Instant::now(), head.method.clone()));
                link.transit(&dice).await?;
                let (code, answer) = link.server.handle(&head.method, &body);
                link.transit(&dice).await?;
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, BoxError>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(service, "operators")
    }

    /// One way.
    async fn transit(&self, dice: &Mutex<StdRng>) -> Result<(), std::io::Error> {
        let path = *self.path.lock().unwrap();
        let (delay, lost) = {
            let mut dice = dice.lock().unwrap();
            (dice.random_range(0..=path.delay), dice.random_range(0..100) < path.loss)
        };
        sleep(Duration::from_millis(delay)).await;
        if self.path.lock().unwrap().cut {
            std::future::pending::<()>().await;
        }
        if lost { Err(std::io::Error::other("connection reset")) } else { Ok(()) }
    }
}

/// One process.
struct Candidate {
    leadership: Leadership,
    release: CancellationToken,
    ended: JoinHandle<ElectionResult>,
}

impl Candidate {
    fn start(name: &str, link: &Link, seed: u64) -> Self {
        Self::with_clock(name, link, seed, Clock::anchored(Timestamp::UNIX_EPOCH))
    }

    fn with_clock(name: &str, link: &Link, seed: u64, clock: Clock) -> Self {
        let settings = Params {
            name: "fdi-operator".to_owned(),
            namespace: None,
            identity: format!("{name}_{seed}"),
            lease_duration: SECOND * 15,
            renew_deadline: SECOND * 10,
            retry_period: SECOND * 2,
        };
        let (sender, leadership) = Leadership::channel();
        let release = CancellationToken::new();
        let (client, token) = (link.client(seed), release.clone());
        let ended =
            tokio::spawn(
                async move { elect(Api::namespaced(client, "operators"), &settings, clock, sender, token).await },
            );
        Self { leadership, release, ended }
    }

    fn leads(&self) -> bool {
        self.leadership.acquired().now_or_never().is_some()
    }

    async fn wins_within(&self, limit: Duration) -> Duration {
        let started = Instant::now();
        timeout(limit, self.leadership.acquired()).await.unwrap();
        started.elapsed()
    }

    /// As SIGKILL does it.
    async fn kill(self) {
        self.ended.abort();
        let _ = self.ended.await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_of_all_leads_once_nobody_can_act_and_keeps_the_lease() {
    let server: Arc<Server> = Arc::default();
    *server.lease.lock().unwrap() = None;
    let link = Link::new(&server);
    let candidate = Candidate::start("a", &link, 1);
    assert!(candidate.wins_within(SECOND * 16).await >= SECOND * 15);
    let reads = link.requests();
    let permit = candidate.leadership.acquired().now_or_never().unwrap();
    assert!(timeout(SECOND * 3600, permit.expired()).await.is_err(), "renewed for an hour");
    assert_eq!(server.spec(|spec| spec.lease_transitions), Some(0));
    assert_eq!(server.spec(|spec| spec.lease_duration_seconds), Some(15));
    assert_eq!(server.spec(|spec| spec.holder_identity.clone()).as_deref(), Some("a_1"));
    let per_hour = link.requests() - reads;
    assert!((1_400..=1_810).contains(&per_hour), "one PUT each 2 to 2.5 s, no reads between: {per_hour}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_before_a_candidate_started_makes_no_second_leader() {
    for seed in 0..20 {
        let server: Arc<Server> = Arc::default();
        let (link, other) = (Link::new(&server), Link::new(&server));
        let leader = Candidate::start("a", &link, seed);
        leader.wins_within(SECOND).await;
        // It cannot notice, and acts until its deadline.
        link.set(Path { cut: true, ..Path::default() });
        let permit = leader.leadership.acquired().now_or_never().unwrap();
        *server.lease.lock().unwrap() = None;
        let candidate = Candidate::start("b", &other, seed + 100);
        candidate.wins_within(SECOND * 20).await;
        assert!(permit.check().is_err(), "two leaders, seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_followed_within_20_seconds_and_not_before_its_permit_ended() {
    for seed in 0..20 {
        let server = Arc::default();
        let (link, other) = (Link::new(&server), Link::new(&server));
        let leader = Candidate::start("a", &link, seed);
        leader.wins_within(SECOND).await;
        let follower = Candidate::start("b", &other, seed + 100);
        sleep(SECOND * 30 + Duration::from_millis(seed * 137)).await;
        leader.kill().await;
        let took = follower.wins_within(SECOND * 20).await;
        assert!(took > SECOND * 10, "{took:?}");
        assert_eq!(server.spec(|spec| spec.lease_transitions), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_within_3_seconds() {
    for seed in 0..20 {
        let server = Arc::default();
        let (link, other) = (Link::new(&server), Link::new(&server));
        let leader = Candidate::start("a", &link, seed);
        leader.wins_within(SECOND).await;
        let follower = Candidate::start("b", &other, seed + 100);
        sleep(SECOND * 30 + Duration::from_millis(seed * 137)).await;
        let permit = leader.leadership.acquired().now_or_never().unwrap();
        leader.release.cancel();
        assert_eq!(leader.ended.await.unwrap(), ElectionResult::Released);
        assert!(permit.check().is_err());
        follower.wins_within(SECOND * 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_clean_end_leaves_is_what_other_clients_understand() {
    let server = Arc::default();
    let leader = Candidate::start("a", &Link::new(&server), 1);
    leader.wins_within(SECOND).await;
    leader.release.cancel();
    leader.ended.await.unwrap();
    assert_eq!(server.spec(|spec| spec.holder_identity.clone()).as_deref(), Some(""));
    assert_eq!(server.spec(|spec| spec.lease_duration_seconds), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_ends_does_not_touch_the_lease() {
    let server = Arc::default();
    let (link, other) = (Link::new(&server), Link::new(&server));
    let leader = Candidate::start("a", &link, 1);
    leader.wins_within(SECOND).await;
    let follower = Candidate::start("b", &other, 2);
    sleep(SECOND * 10).await;
    follower.release.cancel();
    assert_eq!(follower.ended.await.unwrap(), ElectionResult::Released);
    assert!(other.requests.lock().unwrap().iter().all(|(_, method)| method == Method::GET));
    assert!(leader.leads());
}

#[tokio::test(start_paused = true)]
async fn when_the_api_server_goes_away_the_permit_ends_ten_seconds_after_the_last_renewal_was_sent() {
    for seed in 0..20 {
        let server: Arc<Server> = Arc::default();
        let link = Link::new(&server);
        let leader = Candidate::start("a", &link, seed);
        leader.wins_within(SECOND).await;
        sleep(SECOND * 20 + Duration::from_millis(seed * 137)).await;
        link.set(Path { cut: true, ..Path::default() });
        let (renewed, _) = link.requests.lock().unwrap().last().unwrap().clone();
        let permit = leader.leadership.acquired().now_or_never().unwrap();
        permit.expired().await;
        assert_eq!(Instant::now(), renewed + SECOND * 10);
        assert!(matches!(leader.ended.await.unwrap(), ElectionResult::Lost(Lost::NotRenewed { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_deadline_is_survived() {
    let server: Arc<Server> = Arc::default();
    let link = Link::new(&server);
    let leader = Candidate::start("a", &link, 1);
    leader.wins_within(SECOND).await;
    for _ in 0..50 {
        link.set(Path { cut: true, ..Path::default() });
        sleep(SECOND * 4).await;
        link.set(Path::default());
        sleep(SECOND * 6).await;
        assert!(leader.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn ending_is_quick_when_the_api_server_is_away_and_when_it_never_was_there() {
    let server: Arc<Server> = Arc::default();
    let link = Link::new(&server);
    let leader = Candidate::start("a", &link, 1);
    leader.wins_within(SECOND).await;
    link.set(Path { cut: true, ..Path::default() });
    let never = Candidate::start("b", &link, 2);
    sleep(SECOND * 5).await;
    let started = Instant::now();
    never.release.cancel();
    assert_eq!(never.ended.await.unwrap(), ElectionResult::Released);
    assert!(started.elapsed() < Duration::from_millis(10));
    leader.release.cancel();
    assert_eq!(leader.ended.await.unwrap(), ElectionResult::Released);
    assert!(started.elapsed() <= Duration::from_millis(1_510));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_disagree_by_days_change_nothing() {
    let server: Arc<Server> = Arc::default();
    let (link, other) = (Link::new(&server), Link::new(&server));
    let past = Clock::anchored("2020-01-01T00:00:00Z".parse().unwrap());
    let future = Clock::anchored("2040-01-01T00:00:00Z".parse().unwrap());
    let leader = Candidate::with_clock("a", &link, 1, past);
    leader.wins_within(SECOND).await;
    let follower = Candidate::with_clock("b", &other, 2, future);
    sleep(SECOND * 120).await;
    assert!(leader.leads() && !follower.leads());
    leader.kill().await;
    let took = follower.wins_within(SECOND * 20).await;
    assert!(took > SECOND * 10);
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_under_its_leader_makes_no_second_one() {
    let server: Arc<Server> = Arc::default();
    let (link, other) = (Link::new(&server), Link::new(&server));
    let leader = Candidate::start("a", &link, 1);
    leader.wins_within(SECOND).await;
    let follower = Candidate::start("b", &other, 2);
    sleep(SECOND * 10).await;
    for _ in 0..20 {
        *server.lease.lock().unwrap() = None;
        sleep(Duration::from_millis(2_700)).await;
        assert!(leader.leads() && !follower.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_by_force_ends_the_leader_at_its_next_renewal() {
    let server: Arc<Server> = Arc::default();
    let leader = Candidate::start("a", &Link::new(&server), 1);
    leader.wins_within(SECOND).await;
    server.lease.lock().unwrap().as_mut().unwrap().spec.as_mut().unwrap().holder_identity = Some("thief".to_owned());
    server.lease.lock().unwrap().as_mut().unwrap().metadata.resource_version = Some("stolen".to_owned());
    let ended = timeout(SECOND * 6, leader.ended).await.unwrap().unwrap();
    assert_eq!(ended, ElectionResult::Lost(Lost::Taken { holder: "thief".to_owned() }));
}

/// Three processes for three minutes, each behind a link that changes at random; processes die, end
/// cleanly and come back, and the Lease is deleted.
async fn chaos(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let server: Arc<Server> = Arc::default();
    let links = [(); 3].map(|()| Link::new(&server));
    let mut processes: Vec<Candidate> = Vec::new();
    for (n, link) in links.iter().enumerate() {
        processes.push(Candidate::start(&n.to_string(), link, seed ^ n as u64));
    }
    let mut generation = 10;
    let stop = Instant::now() + SECOND * 180;
    while Instant::now() < stop {
        sleep(Duration::from_millis(dice.random_range(1..100))).await;
        let leaders = processes.iter().filter(|process| process.leads()).count();
        assert!(leaders <= 1, "{leaders} leaders at once, seed {seed}");
        let n = dice.random_range(0..links.len());
        let event = dice.random_range(0..400);
        match event {
            0..4 => links[n].set(Path { cut: true, ..Path::default() }),
            4..12 => {
                links[n].set(Path { delay: dice.random_range(0..6_000), loss: dice.random_range(0..60), cut: false });
            }
            12..24 => links[n].set(Path::default()),
            24..26 => processes[n].release.cancel(),
            // A Lease that comes and goes between two reads is seen by nobody.
            30..40 if server.created.lock().unwrap().elapsed() > SECOND * 10 => *server.lease.lock().unwrap() = None,
            _ => {}
        }
        if event == 26 || processes[n].ended.is_finished() {
            generation += 1;
            let next = Candidate::start(&n.to_string(), &links[n], seed ^ generation);
            std::mem::replace(&mut processes[n], next).kill().await;
        }
    }
    for link in &links {
        link.set(Path::default());
    }
    let calm = Instant::now() + SECOND * 20;
    while !processes.iter().any(Candidate::leads) {
        assert!(Instant::now() < calm, "no leader 20 s after the last fault, seed {seed}");
        sleep(SECOND / 10).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_network_does_two_processes_never_hold_a_valid_permit_at_once(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(chaos(seed));
    }
}
