//! What a request waits for, in which order, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;

use crate::fdi::api::{FdiApi, SendError};
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::connect::{Connection, Fdi, FdiConfig};
use crate::fdi::error::Class;
use crate::fdi::rate_limit::RequestLimiter;
use crate::fdi::task::Attributes;
use crate::fdi::tests::client::{
    NO_TASKS, REFUSED, Recorder, batch, connect, connection, fdi, iam, ok, password, requests_to_iam, start, token,
    unauthorized,
};
use crate::fdi::tests::scripted_server::{Does, Server, http};

fn batches(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.contains("/batch-operation/tasks ")).count()
}

#[tokio::test]
async fn a_slot_includes_the_sign_in_so_that_the_call_is_chosen_after_it() {
    let server = iam(|_| true).await;
    let api = connect(&fdi(), &server, password());
    let slot = api.acquire().await.unwrap();
    assert_eq!((requests_to_iam(&server), batches(&server)), (1, 0));
    api.start_or_stop(slot, &batch(&["a"])).await.unwrap();
    assert_eq!((requests_to_iam(&server), batches(&server)), (1, 1));
}

#[tokio::test]
async fn a_call_whose_token_ended_early_is_not_sent_again_but_chosen_again() {
    let ended = Arc::new(AtomicBool::new(false));
    let server = iam({
        let ended = Arc::clone(&ended);
        move |token| token != "T0" || !ended.load(Ordering::Relaxed)
    })
    .await;
    let api = connect(&fdi(), &server, password());
    let slot = api.acquire().await.unwrap();
    drop(slot);
    let slot = api.acquire().await.unwrap();
    ended.store(true, Ordering::Relaxed);
    assert_eq!(api.start_or_stop(slot, &batch(&["a"])).await, Err(SendError::SlotExpired));
    assert_eq!(batches(&server), 1);
    start(&api, &["b"]).await.unwrap();
    assert_eq!((requests_to_iam(&server), batches(&server)), (2, 2));
    assert!(server.requests().last().unwrap().contains(r#""task_id":"b""#));
}

#[tokio::test]
async fn a_refused_sign_in_gives_no_slot() {
    let server = Server::start(|_, _| unauthorized(REFUSED)).await;
    let api = connect(&fdi(), &server, token());
    api.list(Attributes::Omit, None).await.unwrap_err();
    let error = api.acquire().now_or_never().unwrap().unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::SignIn, "APIGW.0301"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn one_instance_that_refuses_a_shared_key_does_not_take_it_from_another() {
    let server =
        Server::start(
            |_, request| {
                if request.contains("/instances/refuses/") { unauthorized(REFUSED) } else { ok(NO_TASKS) }
            },
        )
        .await;
    let key = || SignIn::AccessKey { access_key: "AK".into(), secret_key: "SK".into(), security_token: None };
    let fdi = fdi();
    let api = |instance: &str| {
        let connection = Connection { instance_id: instance.to_owned(), ..connection(&server) };
        let limiter = Arc::new(RequestLimiter::new(1000, 10));
        fdi.connect(&connection, key(), &limiter, Arc::new(Recorder::default())).unwrap()
    };
    let (ours, refuses) = (api("ours"), api("refuses"));
    ours.list(Attributes::Omit, None).await.unwrap();
    for _ in 0..10 {
        assert_eq!(refuses.list(Attributes::Omit, None).await.unwrap_err().class, Class::SignIn);
        ours.list(Attributes::Omit, None).await.unwrap();
    }
    let sent = server.requests().iter().filter(|request| request.contains("/instances/refuses/")).count();
    assert_eq!(sent, 1, "its own circuit is open");
}

#[tokio::test]
async fn a_list_ends_in_time_however_many_slow_pages_it_has() {
    let server = Server::start(|number, _| Does::Slow {
        wait: Duration::from_millis(300),
        text: http("200 OK", "", &format!(r#"{{"total":5000,"entities":[{{"task_id":"t{number}","status":1}}]}}"#)),
    })
    .await;
    let begun = Instant::now();
    let error = connect(&fdi(), &server, token()).list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "ListTimeout"));
    assert!(begun.elapsed() < Duration::from_secs(2), "twice the request timeout of half a second");
}

#[tokio::test]
async fn an_instance_with_too_many_tasks_says_so_after_one_page() {
    let server = Server::start(|_, _| ok(r#"{"total":1000000,"entities":[{"task_id":"a","status":1}]}"#)).await;
    let error = connect(&fdi(), &server, token()).list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Config, "ListTooLarge"));
    assert!(error.message.contains("more than 10000 tasks"), "{}", error.message);
    assert_eq!(server.requests().len(), 1);
}

/// IAM answers slowly, but the token at hand is still valid.
#[tokio::test]
async fn while_one_request_renews_a_token_the_others_go_on_with_the_valid_one() {
    let server = Server::start(|number, request| {
        if !request.starts_with("POST /v3/") {
            return ok(NO_TASKS);
        }
        let token = http("201 Created", &format!("x-subject-token: T{number}\r\n"), SHORT_LIFE);
        if number == 0 { Does::Answer(token) } else { Does::Hang(String::new()) }
    })
    .await;
    let fdi = Fdi::new(FdiConfig { allow_insecure: true, ..FdiConfig::default() }).unwrap();
    let api: Arc<dyn FdiApi> = connect(&fdi, &server, password());
    api.list(Attributes::Omit, None).await.unwrap();
    // The last tenth of a life of thirty seconds: the next request renews the token.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(28)).await;
    tokio::time::resume();
    let mut renewing = Box::pin(api.list(Attributes::Omit, None));
    while requests_to_iam(&server) < 2 {
        assert!(renewing.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    api.list(Attributes::Omit, None).await.unwrap();
}

const SHORT_LIFE: &str =
    r#"{"token":{"issued_at":"2020-01-01T00:00:00.000000Z","expires_at":"2020-01-01T00:00:30.000000Z"}}"#;
