//! One request from arrival to answer, without sockets: [`Shared::arrive`] logs it and picks the
//! faults that strike it, [`Shared::act`] performs it and returns the answer and how to deliver it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::watch;

use crate::clock::{Clock, Millis};
use crate::fault::{Effect, Facts};
use crate::log::{Entry, ListedTask, Told, redacted};
use crate::policy::ErrorShape;
use crate::route::{FdiCall, Route};
use crate::signature::sha256_hex;
use crate::wire::{BatchAnswer, BriefTask, ListAnswer, Refusal};
use crate::world::World;
use crate::{batch, corrupt_responses, iam, sign_in};

/// Largest body that the gateway accepts.
pub(crate) const MAX_BODY: usize = 12 * 1024 * 1024;

/// How an answer reaches the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    /// Nothing is sent and the connection is closed.
    Cut,
    /// Nothing is sent and the connection stays open.
    Hang,
    /// The connection is closed after the headers and so many bytes of the body.
    CutBody {
        bytes: usize,
    },
    /// So many bytes of the body each `every_ms`.
    Drip {
        bytes: usize,
        every_ms: u64,
    },
    /// White space is added to the body until it has so many bytes.
    Flood {
        bytes: u64,
    },
}

/// The answer of one request.
#[derive(Debug)]
pub struct Reply {
    /// What is sent, as far as `delivery` sends it.
    pub response: Response<Bytes>,
    /// The latency that faults ask for after acting.
    pub delay_ms: u64,
    pub delivery: Delivery,
}

/// What all parts of a simulator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub clock: Clock,
    pub record_headers: bool,
    pub record_lists: bool,
    world: Mutex<World>,
    changed: watch::Sender<u64>,
}

/// A request that has been logged but not performed.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub seq: u64,
    /// The latency that faults ask for before acting.
    pub delay_ms: u64,
    pub route: Route,
    pub parts: http::request::Parts,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub effects: Vec<(u64, Effect)>,
    pub request_id: String,
}

/// An answer before it becomes bytes; typed where faults change it.
pub(crate) enum Said {
    Batch(BatchAnswer),
    List(ListAnswer),
    Json(u16, Value),
    /// 200 without a body.
    Empty,
    /// 201 with `X-Subject-Token`.
    Token(String, Value),
    Refused(Refusal),
}

/// What performing a request leaves for the log.
#[derive(Default)]
pub(crate) struct Acted {
    pub error_code: Option<String>,
    pub told: Vec<Told>,
    pub applied: Vec<Arc<str>>,
    pub shape: ErrorShape,
}

impl Shared {
    pub fn new(clock: Clock, record_headers: bool, record_lists: bool) -> Self {
        let world = Mutex::default();
        Self { clock, record_headers, record_lists, world, changed: watch::channel(0).0 }
    }

    /// Reads or changes the world, and wakes every waiting condition.
    pub fn change<T>(&self, change: impl FnOnce(&mut World, Millis) -> T) -> T {
        let now = self.clock.now();
        let result = change(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner), now);
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// Reads the world (and settles what is due) without waking anything.
    pub fn read<T>(&self, read: impl FnOnce(&mut World, Millis) -> T) -> T {
        read(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits while connections are held.
    pub async fn released(&self) {
        let mut changes = self.changes();
        while self.read(|world, _| world.holds_connections) {
            // The sender lives in `self`, so it can't be gone.
            let _ = changes.changed().await;
        }
    }

    /// Logs a request. `None` while connections are refused.
    pub fn arrive(&self, request: Request<Bytes>) -> Option<Arrival> {
        let (parts, body) = request.into_parts();
        let mut headers: Vec<(String, String)> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        // An in-process request may name its host in the URI only.
        if let (false, Some(authority)) = (parts.headers.contains_key(header::HOST), parts.uri.authority()) {
            headers.push(("host".to_owned(), authority.to_string()));
        }
        let route = Route::of(&parts.method, parts.uri.path());
        let (action, ids) = match &route {
            Route::Fdi { call: FdiCall::Batch, .. } => batch::peek(&body),
            Route::Fdi { call, .. } => (None, call.task().map(Arc::from).into_iter().collect()),
            _ => (None, Vec::new()),
        };
        let identity = if route == Route::Token { iam::claimed(&body) } else { sign_in::claimed(&headers) };
        self.change(|world, now| {
            if world.refuses_connections {
                world.refused_connections += 1;
                return None;
            }
            let seq = u64::try_from(world.log.len()).unwrap_or(u64::MAX) + 1;
            let (project, instance) = (route.project().map(str::to_owned), route.instance().map(str::to_owned));
            let facts = Facts {
                operation: route.operation(),
                project: project.as_deref(),
                instance: instance.as_deref(),
                action,
                ids: &ids,
                identity: &identity,
            };
            let strikes = world.faults.iter_mut().map(|fault| (fault.id, fault.strike(facts, now)));
            let effects: Vec<(u64, Effect)> =
                strikes.filter_map(|(id, effect)| effect.map(|effect| (id, effect))).collect();
            let delay_ms = effects
                .iter()
                .map(|(_, effect)| if let Effect::Delay { before_ms, .. } = effect { *before_ms } else { 0 })
                .sum();
            let request_id = sha256_hex(format!("request {seq}").as_bytes())[..32].to_owned();
            world.log.push(Entry {
                seq,
                arrived_at: now,
                acted_at: None,
                answered_at: None,
                operation: route.operation(),
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                project,
                instance,
                action,
                ids,
                identity,
                user_agent: headers.iter().find(|(name, _)| name == "user-agent").map(|(_, value)| value.clone()),
                headers: self.record_headers.then(|| redacted(&headers)),
                request_id: request_id.clone(),
                status: None,
                error_code: None,
                told: Vec::new(),
                applied: Vec::new(),
                listed: Arc::default(),
                faults: effects.iter().map(|(id, _)| *id).collect(),
            });
            Some(Arrival { seq, delay_ms, route, parts, headers, body, effects, request_id })
        })
    }

    /// Performs the request, unless a fault prevents that.
    pub fn act(&self, arrival: &Arrival) -> Reply {
        self.change(|world, now| {
            let before = arrival.effects.iter().find_map(|(_, effect)| match effect {
                Effect::Cut { acts: false } => Some((Response::default(), Delivery::Cut)),
                Effect::Hang { acts: false } => Some((Response::default(), Delivery::Hang)),
                Effect::Answer { status, headers, body, acts: false } => {
                    Some((arrival.canned(*status, headers, body), Delivery::Whole))
                }
                _ => None,
            });
            let (response, delivery, listed) = if let Some((response, delivery)) = before {
                (response, delivery, Arc::default())
            } else {
                let mut acted = Acted::default();
                let mut said = arrival.perform(world, now, &mut acted);
                for (_, effect) in &arrival.effects {
                    match &mut said {
                        Said::Batch(answer) => corrupt_responses::corrupt_batch(answer, effect),
                        Said::List(answer) => corrupt_responses::corrupt_list(answer, effect),
                        Said::Json(..) | Said::Empty | Said::Token(..) | Said::Refused(_) => {}
                    }
                }
                let listed = match &said {
                    Said::List(list) if self.record_lists => arrival.shown(list),
                    _ => Arc::default(),
                };
                let entry = world.entry_mut(arrival.seq);
                entry.acted_at = Some(now);
                entry.error_code = acted.error_code;
                entry.told = acted.told;
                entry.applied = acted.applied;
                let response = arrival.response(said, acted.shape);
                let (response, delivery) = arrival.deliver(response);
                (response, delivery, listed)
            };
            if !matches!(delivery, Delivery::Cut | Delivery::Hang) {
                let entry = world.entry_mut(arrival.seq);
                entry.status = Some(response.status().as_u16());
                entry.listed = listed;
            }
            let delay_ms = arrival
                .effects
                .iter()
                .map(|(_, effect)| if let Effect::Delay { after_ms, .. } = effect { *after_ms } else { 0 })
                .sum();
            Reply { response, delay_ms, delivery }
        })
    }

    /// Completes the entry: the headers of the answer have gone to the connection.
    pub fn answered(&self, seq: u64) {
        self.change(|world, now| world.entry_mut(seq).answered_at = Some(now));
    }
}

impl Arrival {
    pub fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// How a list shows each task, for the log; without those whose state a fault obscures.
    fn shown(&self, list: &ListAnswer) -> Arc<[ListedTask]> {
        let obscured = |id: &str| self.effects.iter().any(|(_, effect)| effect.obscures_state_of(id));
        let readable = list.entities.iter().filter(|task| !task.of_crowd && !obscured(&task.task_id));
        let shown = |task: &BriefTask| ListedTask {
            id: Arc::clone(&task.task_id),
            name: task.task_name.as_str().into(),
            running: task.status == 1,
        };
        readable.map(shown).collect()
    }

    fn response(&self, said: Said, shape: ErrorShape) -> Response<Bytes> {
        let mut token = None;
        let (status, body) = match said {
            Said::Batch(answer) => (200, serde_json::to_vec(&answer)),
            Said::List(answer) => (200, corrupt_responses::list_body(&answer, &self.effects)),
            Said::Json(status, body) => (status, serde_json::to_vec(&body)),
            Said::Empty => (200, Ok(Vec::new())),
            Said::Token(value, body) => {
                token = Some(value);
                (201, serde_json::to_vec(&body))
            }
            Said::Refused(refusal) => (refusal.status, serde_json::to_vec(&refusal.body(shape, &self.request_id))),
        };
        // Our own structures always serialize.
        let mut response = Response::new(Bytes::from(body.unwrap_or_default()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
        if let Some(Ok(token)) = token.map(|token| HeaderValue::from_str(&token)) {
            headers.insert("x-subject-token", token);
        }
        self.stamp(&mut response);
        response
    }

    fn canned(&self, status: u16, headers: &[(String, String)], body: &str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(body.replace("{request_id}", &self.request_id)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        self.stamp(&mut response);
        response
    }

    fn stamp(&self, response: &mut Response<Bytes>) {
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert("x-request-id", id);
        }
    }

    /// Applies the faults that replace an answer or change its delivery.
    fn deliver(&self, mut response: Response<Bytes>) -> (Response<Bytes>, Delivery) {
        let mut delivery = Delivery::Whole;
        for (_, effect) in &self.effects {
            match effect {
                Effect::Answer { status, headers, body, acts: true } => {
                    response = self.canned(*status, headers, body);
                }
                Effect::Cut { acts: true } => delivery = Delivery::Cut,
                Effect::Hang { acts: true } => delivery = Delivery::Hang,
                Effect::CutBody { bytes } => delivery = Delivery::CutBody { bytes: *bytes },
                Effect::Drip { bytes, every_ms } => {
                    delivery = Delivery::Drip { bytes: (*bytes).max(1), every_ms: *every_ms };
                }
                Effect::Flood { bytes } => delivery = Delivery::Flood { bytes: *bytes },
                _ => {}
            }
        }
        (response, delivery)
    }
}
