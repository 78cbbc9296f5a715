//! One request from arrival to answer, without sockets: [`Shared::arrive`] logs it and picks the faults that strike it,
//! [`Shared::act`] does what it asks and gives the answer and how that is to be delivered.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::watch;

use crate::clock::{Clock, Millis};
use crate::fault::{Effect, Facts};
use crate::list::ListQuery;
use crate::log::{Entry, Told, redacted};
use crate::policy::{ErrorShape, Policies, UnknownInstance};
use crate::route::Route;
use crate::sign_in::{self, permit, sign_in, wrong_project};
use crate::signature::{Signed, sha256_hex};
use crate::task::Task;
use crate::wire::{BatchAnswer, ListAnswer, Refusal, Speaker, show_answer};
use crate::world::World;
use crate::{batch, falsify, iam};

/// Largest body the gateway takes.
pub(crate) const MAX_BODY: usize = 12 * 1024 * 1024;
const MAX_URI: usize = 32 * 1024;
const MAX_HEADER: usize = 32 * 1024;
const MAX_HEADERS: usize = 128 * 1024;

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
    /// The body is filled up with white space to so many bytes.
    Flood {
        bytes: u64,
    },
}

/// The answer of one request.
#[derive(Debug)]
pub struct Reply {
    /// What is sent, as far as it is sent: see `delivery`.
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

/// A request that is in the log and not acted upon yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub seq: u64,
    /// The latency that faults ask for before acting.
    pub delay_ms: u64,
    route: Route,
    parts: http::request::Parts,
    headers: Vec<(String, String)>,
    body: Bytes,
    effects: Vec<(u64, Effect)>,
    request_id: String,
}

/// What the service has to say before it becomes bytes; typed where faults change it.
enum Said {
    Batch(BatchAnswer),
    List(ListAnswer),
    Json(u16, Value),
    /// 201 with `X-Subject-Token`.
    Token(String, Value),
    Refused(Refusal),
}

/// What acting leaves behind for the log.
#[derive(Default)]
struct Acted {
    error_code: Option<String>,
    told: Vec<Told>,
    applied: Vec<Arc<str>>,
    shape: ErrorShape,
}

impl Shared {
    pub fn new(clock: Clock, record_headers: bool, record_lists: bool) -> Self {
        let world = Mutex::default();
        Self { clock, record_headers, record_lists, world, changed: watch::channel(0).0 }
    }

    /// Reads or changes the world, and wakes whoever waits for a change.
    pub fn change<T>(&self, change: impl FnOnce(&mut World, Millis) -> T) -> T {
        let now = self.clock.now();
        let result = change(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner), now);
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// Reads the world (and settles what is due): wakes nobody.
    pub fn read<T>(&self, read: impl FnOnce(&mut World, Millis) -> T) -> T {
        read(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Logs a request. `None` when connections are refused at present.
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
            Route::Batch { .. } => batch::peek(&body),
            Route::Show { task, .. } => (None, vec![Arc::from(task.as_str())]),
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
            };
            let effects: Vec<(u64, Effect)> = world
                .faults
                .iter_mut()
                .filter_map(|fault| fault.strikes(facts).then(|| (fault.id, fault.fault.effect.clone())))
                .collect();
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
                listed: Vec::new(),
                faults: effects.iter().map(|(id, _)| *id).collect(),
            });
            Some(Arrival { seq, delay_ms, route, parts, headers, body, effects, request_id })
        })
    }

    /// Does what the request asks, unless a fault keeps it from that.
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
                (response, delivery, Vec::new())
            } else {
                let mut acted = Acted::default();
                let mut said = arrival.perform(world, now, &mut acted);
                for (_, effect) in &arrival.effects {
                    match &mut said {
                        Said::Batch(answer) => falsify::batch(answer, effect),
                        Said::List(answer) => falsify::list(answer, effect),
                        Said::Json(..) | Said::Token(..) | Said::Refused(_) => {}
                    }
                }
                let listed = match &said {
                    Said::List(list) if self.record_lists => {
                        list.entities.iter().map(|task| (task.task_id.clone(), task.status == 1)).collect()
                    }
                    _ => Vec::new(),
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
    fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// Done by the service: size limits, route, sign-in, project, instance, request; in this order.
    fn perform(&self, world: &mut World, now: Millis, acted: &mut Acted) -> Said {
        let said = self.checked(world, now, acted).unwrap_or_else(Said::Refused);
        if let Said::Refused(refusal) = &said
            && !refusal.code.is_empty()
        {
            acted.error_code = Some(refusal.code.clone());
        }
        said
    }

    fn checked(&self, world: &mut World, now: Millis, acted: &mut Acted) -> Result<Said, Refusal> {
        self.check_size()?;
        if let Route::Token = self.route {
            let (token, body) = iam::issue(world, &self.body, now)?;
            return Ok(Said::Token(token, body));
        }
        if let Route::Other = self.route {
            return Err(Refusal::gateway(
                404,
                "APIGW.0101",
                "The API does not exist or has not been published in the environment.",
            ));
        }
        let policies = match (self.route.project(), self.route.instance()) {
            (Some(project), Some(instance)) => world.policies_of(project, instance).clone(),
            _ => world.policies.clone(),
        };
        acted.shape = policies.error_shape;
        let signed = Signed {
            method: self.parts.method.as_str(),
            path: self.parts.uri.path(),
            query: self.query(),
            headers: &self.headers,
            body: &self.body,
        };
        let scope = sign_in(world, &signed, &policies, now)?;
        let header = |name: &str| self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if let Some(project) = self.route.project() {
            permit(&scope, project, &policies)?;
            if header("x-project-id").is_some_and(|named| named != project) {
                return Err(wrong_project());
            }
        }
        match &self.route {
            Route::Projects => Ok(Said::Json(200, iam::projects(world, self.query(), &scope))),
            Route::TokenCheck => {
                let token = header("x-subject-token").and_then(|token| world.tokens.get(token));
                let token = token
                    .filter(|token| !token.revoked && token.expires_at > now)
                    .ok_or_else(|| Refusal::new(Speaker::IamToken, 404, "", "The token is not found."))?;
                Ok(Said::Json(200, iam::describe(token, &world.projects)))
            }
            Route::Batch { project, instance } => {
                let found = world.settled(project, instance, now);
                let (found, _) = found.ok_or_else(|| unknown_instance(project, instance, &policies))?;
                let done = batch::operate(found, &policies, &self.body, now);
                acted.told = done.told;
                acted.applied = done.applied;
                done.answer.map(Said::Batch)
            }
            Route::List { project, instance } => self.list(world, project, instance, &policies, now).map(Said::List),
            Route::Show { project, instance, task } => {
                let found = world.settled(project, instance, now);
                let (found, _) = found.ok_or_else(|| unknown_instance(project, instance, &policies))?;
                let task = found.task(task).ok_or_else(|| Refusal::fdi(404, "FDI.3081", "The task does not exist."))?;
                Ok(Said::Json(200, show_answer(task, project)))
            }
            Route::Token | Route::Other => Err(Refusal::invalid()),
        }
    }

    fn list(
        &self,
        world: &mut World,
        project: &str,
        instance: &str,
        policies: &Policies,
        now: Millis,
    ) -> Result<ListAnswer, Refusal> {
        let found = world.settled(project, instance, now);
        let (found, _) = found.ok_or_else(|| unknown_instance(project, instance, policies))?;
        let query = ListQuery::parse(self.query(), policies)?;
        let lagging: Option<Vec<Task>> = self.effects.iter().find_map(|(_, effect)| match effect {
            Effect::StaleFor { ms } => {
                let at = now.saturating_sub(Millis::try_from(*ms).unwrap_or(Millis::MAX));
                Some(found.tasks.iter().filter_map(|task| task.as_seen_at(at)).collect())
            }
            _ => None,
        });
        let remembers = |effect: &Effect| matches!(effect, Effect::StaleBy { .. } | Effect::Frozen);
        let Some((id, _)) = self.effects.iter().find(|(_, effect)| remembers(effect)) else {
            return Ok(query.page(lagging.as_ref().unwrap_or(&found.tasks), instance, policies));
        };
        let tasks = lagging.unwrap_or_else(|| found.tasks.clone());
        let fault = world.faults.iter_mut().find(|fault| fault.id == *id);
        let remembered = fault.and_then(|fault| fault.remembered(&tasks));
        Ok(query.page(remembered.as_ref().unwrap_or(&tasks), instance, policies))
    }

    fn check_size(&self) -> Result<(), Refusal> {
        let length = |(name, value): &(String, String)| name.len() + value.len();
        if self.body.len() > MAX_BODY {
            Err(Refusal::gateway(413, "APIGW.0201", "Request entity too large."))
        } else if self.parts.uri.path().len() + self.query().len() > MAX_URI {
            Err(Refusal::gateway(414, "APIGW.0201", "Request URI too large."))
        } else if self.headers.iter().any(|header| length(header) > MAX_HEADER)
            || self.headers.iter().map(length).sum::<usize>() > MAX_HEADERS
        {
            Err(Refusal::gateway(494, "APIGW.0201", "Request headers too large."))
        } else {
            Ok(())
        }
    }

    fn response(&self, said: Said, shape: ErrorShape) -> Response<Bytes> {
        let mut token = None;
        let (status, body) = match said {
            Said::Batch(answer) => (200, serde_json::to_vec(&answer)),
            Said::List(answer) => (200, serde_json::to_vec(&answer)),
            Said::Json(status, body) => (status, serde_json::to_vec(&body)),
            Said::Token(value, body) => {
                token = Some(value);
                (201, serde_json::to_vec(&body))
            }
            Said::Refused(refusal) => (refusal.status, serde_json::to_vec(&refusal.body(shape, &self.request_id))),
        };
        // Our own structures always serialise.
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

    /// What the faults make of an answer that was given.
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

fn unknown_instance(project: &str, instance: &str, policies: &Policies) -> Refusal {
    match policies.unknown_instance {
        UnknownInstance::Fdi3002 => Refusal::invalid(),
        UnknownInstance::Roma00110002 => Refusal::fdi(
            500,
            "ROMA.00110002",
            &format!("The instance does not exist. project_id: {project}, instance_id: {instance}"),
        ),
    }
}
