use tokio::net::TcpListener;

use super::*;
use crate::fdi::api::Outcome;
use crate::fdi::connect::{Connection, Fdi, FdiConfig};
use crate::fdi::endpoint::Location;
use crate::fdi::error::Cause;
use crate::fdi::tests::client::{
    NO_TASKS, REFUSED, Recorder, connect, connection, fdi, iam, ok, password, requests_to_iam, start, token,
    unauthorized,
};
use crate::fdi::tests::scripted_server::{Does, Server, http};

/// A way not to respond: its name, and what the server does.
type Misdeed = (&'static str, fn() -> Does);

#[tokio::test]
async fn a_list_asks_page_after_page_with_the_token_and_escaped_ids() {
    let server = Server::start(|number, _| match number {
        0 => {
            ok(r#"{"total":3,"entities":[{"task_id":"a","task_name":"A","status":1},{"task_id":"b","status":"stop"}]}"#)
        }
        _ => ok(r#"{"total":3,"entities":[{"task_id":"c","status":0,"execute_status":"ERROR"}]}"#),
    })
    .await;
    let tasks = connect(&fdi(), &server, token()).list(Attributes::Omit, None).await.unwrap();
    assert_eq!(tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let requests = server.requests();
    assert!(
        requests[0].starts_with("GET /v2/p%2F1/fdi/instances/i%201/tasks?limit=999&offset=0 HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(requests[1].contains("limit=999&offset=2 "));
    assert!(requests[0].contains("\r\nx-auth-token: s3cr3t-token\r\n"));
    assert!(requests[0].contains(concat!("\r\nuser-agent: fdi-operator/", env!("CARGO_PKG_VERSION"), "\r\n")));
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn a_batch_is_posted_and_answered_id_by_id() {
    let server = Server::start(|_, _| {
        ok(r#"{"success_count":1,"failure_count":1,"success":[{"task_id":"a"}],
            "failure":[{"task_id":"b","error_code":"FDI.3083","error_msg":"No plan."}]}"#)
    })
    .await;
    let answer = start(&connect(&fdi(), &server, token()), &["b", "a"]).await.unwrap();
    assert!(
        matches!(&answer.outcomes[0].1, Outcome::Refused(refusal) if refusal.code == "FDI.3083" && refusal.permanent)
    );
    assert_eq!(answer.outcomes[1].1, Outcome::Accepted);
    assert_eq!(answer.request_id.as_deref(), Some("r-1"));
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /v2/p%2F1/fdi/instances/i%201/batch-operation/tasks HTTP/1.1\r\n"));
    assert!(request.contains("\r\ncontent-type: application/json;charset=utf-8\r\n"));
    assert!(request.ends_with(r#"{"action_id":"start","list":[{"task_id":"b"},{"task_id":"a"}]}"#));
}

#[tokio::test]
async fn a_list_whose_pages_shift_is_read_again_once_and_then_unavailable() {
    let page = |ids: [&str; 2], total: usize| {
        let [a, b] = ids;
        ok(&format!(
            r#"{{"total":{total},"entities":[{{"task_id":"{a}","status":1}},{{"task_id":"{b}","status":1}}]}}"#
        ))
    };
    let shifted_once = Server::start(move |number, _| match number {
        0 | 2 => page(["a", "b"], 4),
        1 => page(["b", "c"], 4),
        _ => page(["c", "d"], 4),
    })
    .await;
    assert_eq!(connect(&fdi(), &shifted_once, token()).list(Attributes::Omit, None).await.unwrap().len(), 4);
    let always = Server::start(move |_, _| page(["a", "b"], 4)).await;
    let error = connect(&fdi(), &always, token()).list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "ListIncomplete"));
    assert_eq!(always.requests().len(), 4);
}

#[tokio::test]
async fn an_access_key_signs_what_is_sent() {
    use crate::fdi::auth::access_key::Request;

    let server = Server::start(|_, _| ok(r#"{"success":[{"task_id":"a"}]}"#)).await;
    let sign_in = SignIn::AccessKey {
        access_key: "AKIDEXAMPLE".into(),
        secret_key: "s3cr3t-key".into(),
        security_token: Some("s3cr3t-st".into()),
    };
    start(&connect(&fdi(), &server, sign_in), &["a"]).await.unwrap();
    let request = server.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    let names = ["content-type", "host", "x-project-id", "x-sdk-date", "x-security-token"];
    let headers = names.map(|name| (name, header(name)));
    let path = head.split(' ').nth(1).unwrap();
    let sent = Request { method: "POST", path, query: "", headers: &headers, body: body.as_bytes() };
    assert_eq!(header("authorization"), sent.authorization("AKIDEXAMPLE", "s3cr3t-key", header("x-sdk-date")));
    assert_eq!(header("x-project-id"), "p/1");
}

#[tokio::test]
async fn many_instances_with_one_refused_key_send_one_request() {
    let server = Server::start(|_, _| unauthorized(REFUSED)).await;
    let fdi = fdi();
    let apis: Vec<_> = (0..50).map(|_| connect(&fdi, &server, token())).collect();
    let results = futures::future::join_all(apis.iter().map(|api| api.list(Attributes::Omit, None))).await;
    for result in results {
        let error = result.unwrap_err();
        assert_eq!((error.class, error.cause), (Class::SignIn, Cause::SignInRefused));
    }
    assert_eq!(server.requests().len(), 1);
    let changed = connect(&fdi, &server, SignIn::Token("another".into()));
    changed.list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!(server.requests().len(), 2, "changed Secret data are tried at once");
}

#[tokio::test]
async fn one_token_serves_all_instances_that_share_a_password_and_later_clients_too() {
    let server = iam(|_| true).await;
    let fdi = fdi();
    let apis: Vec<_> = (0..20).map(|_| connect(&fdi, &server, password())).collect();
    assert!(
        futures::future::join_all(apis.iter().map(|api| api.list(Attributes::Omit, None)))
            .await
            .iter()
            .all(Result::is_ok)
    );
    drop(apis);
    connect(&fdi, &server, password()).list(Attributes::Omit, None).await.unwrap();
    assert_eq!(requests_to_iam(&server), 1);
    assert!(server.requests()[0].contains(r#""scope":{"project":{"id":"p/1"}}"#));
}

#[tokio::test]
async fn a_token_that_ended_early_is_renewed_without_anybody_noticing() {
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let server = iam({
        let ended = ended.clone();
        move |token| token != "T0" || !ended.load(std::sync::atomic::Ordering::Relaxed)
    })
    .await;
    let api = connect(&fdi(), &server, password());
    api.list(Attributes::Omit, None).await.unwrap();
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    api.list(Attributes::Omit, None).await.unwrap();
    api.list(Attributes::Omit, None).await.unwrap();
    assert_eq!(requests_to_iam(&server), 2);
}

#[tokio::test]
async fn a_service_that_accepts_no_token_gets_one_newly_issued_token() {
    let server = iam(|_| false).await;
    let api = connect(&fdi(), &server, password());
    assert_eq!(api.list(Attributes::Omit, None).await.unwrap_err().code, "APIGW.0307");
    assert_eq!(api.list(Attributes::Omit, None).await.unwrap_err().class, Class::SignIn);
    assert_eq!((requests_to_iam(&server), server.requests().len()), (1, 2), "the second list sends nothing");
}

#[tokio::test]
async fn a_wrong_password_never_reaches_fdi() {
    let server = Server::start(|_, _| {
        unauthorized(r#"{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}"#)
    })
    .await;
    let error = connect(&fdi(), &server, password()).list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!(error.class, Class::SignIn);
    assert_eq!(
        error.message,
        "The sign-in was refused: The username or password is wrong (401). Check domainName, userName and password in the Secret."
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_throttled_iam_is_no_refusal() {
    let server = Server::start(|_, _| {
        Does::Answer(http(
            "429 Too Many Requests",
            "retry-after: 7\r\n",
            r#"{"error_code":"IAM.0012","error_msg":"x"}"#,
        ))
    })
    .await;
    let api = connect(&fdi(), &server, password());
    let error = api.list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!((error.class, error.retry_after), (Class::Throttled, Some(Duration::from_secs(7))));
    api.list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!(server.requests().len(), 2, "the circuit is not open");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays_here() {
    let other = Server::start(|_, _| ok(NO_TASKS)).await;
    let location = format!("location: {}/\r\n", other.address);
    let server = Server::start(move |_, _| Does::Answer(http("307 Temporary Redirect", &location, ""))).await;
    let error = connect(&fdi(), &server, token()).list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!((error.class, error.cause), (Class::Config, Cause::RequestRejected));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn whatever_a_server_does_instead_of_responding_ends_in_time_as_unavailable() {
    let scripts: Vec<Misdeed> = vec![
        ("hangs before the head", || Does::Hang(String::new())),
        ("hangs within the head", || Does::Hang("HTTP/1.1 200 OK\r\n".into())),
        ("hangs after the head", || Does::Hang("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".into())),
        ("closes at once", || Does::Cut(String::new())),
        ("closes after the head", || Does::Cut("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".into())),
        ("closes within a chunked body", || {
            Does::Cut("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{".into())
        }),
        ("drips", || Does::Drip("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".into())),
        ("drips a head", || Does::Drip("HTTP/1.1 200 OK\r\nx: ".into())),
        ("does not speak HTTP", || Does::Cut("SSH-2.0-OpenSSH_9.2\r\n".into())),
        ("sends half a JSON", || ok(r#"{"success":[{"task_id":"a"}"#)),
        ("sends HTML", || ok("<html></html>")),
        ("answers 502", || Does::Answer(http("502 Bad Gateway", "", "<html></html>"))),
        ("answers 503 and hangs", || Does::Hang("HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\n".into())),
    ];
    let fdi = fdi();
    for (what, script) in scripts {
        let server = Server::start(move |_, _| script()).await;
        let api = connect(&fdi, &server, token());
        let begun = std::time::Instant::now();
        let error = start(&api, &["a"]).await.unwrap_err();
        assert_eq!((error.class, error.cause), (Class::Unavailable, Cause::Unavailable), "{what}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{what} took {:?}", begun.elapsed());
        assert_eq!(server.requests().len(), 1, "{what}: a call is never sent twice");
    }
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_the_end() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n"] {
        let server = Server::start(move |_, _| Does::Flood(head.into())).await;
        let error = connect(&fdi(), &server, token()).list(Attributes::Omit, None).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "ResponseTooLarge"));
        let flooded = server.flooded.load(std::sync::atomic::Ordering::Relaxed);
        assert!(flooded < 32 * 1024 * 1024, "{flooded} bytes were taken");
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_says_why() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server { address: format!("http://{address}"), requests: Arc::default(), flooded: Arc::default() };
    let error = connect(&fdi(), &server, token()).list(Attributes::Omit, None).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "ConnectFailed"));
    assert!(error.message.contains("Connection refused"), "{}", error.message);
}

#[tokio::test]
async fn the_observer_is_notified_of_every_request() {
    let server = iam(|_| true).await;
    let recorder = Arc::new(Recorder::default());
    let api = fdi()
        .connect(&connection(&server), password(), &Arc::new(RequestLimiter::new(10, 2)), recorder.clone())
        .unwrap();
    api.list(Attributes::Omit, None).await.unwrap();
    start(&api, &["a"]).await.unwrap();
    assert_eq!(
        *recorder.0.lock().unwrap(),
        [(Operation::SignIn, "ok"), (Operation::List, "ok"), (Operation::Start, "ok")]
    );
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_or_an_odd_id_is_refused_before_anything_is_sent() {
    let strict = Fdi::new(FdiConfig::default()).unwrap();
    let server = Server::start(|_, _| ok(NO_TASKS)).await;
    let limits = Arc::new(RequestLimiter::new(1, 1));
    let error = |connection: &Connection, fdi: &Fdi| {
        fdi.connect(connection, token(), &limits, Arc::new(Recorder::default())).unwrap_err()
    };
    assert_eq!(error(&connection(&server), &strict).cause, Cause::EndpointNotAllowed);
    for id in ["", ".", "..", &"a".repeat(65)] {
        let connection = Connection { instance_id: id.to_owned(), ..connection(&server) };
        assert!(error(&connection, &fdi()).message.starts_with("instanceId cannot be used"));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn no_secret_is_in_debug_output_or_errors_even_when_the_server_echoes_it() {
    let server = Server::start(|_, request| {
        let token = request.lines().find_map(|line| line.strip_prefix("x-auth-token: ")).unwrap();
        let body = format!(r#"{{"error_code":"X.1","error_msg":"bad token {token}"}}"#);
        Does::Answer(http("400 Bad Request", &format!("x-request-id: {token}\r\n"), &body))
    })
    .await;
    let fdi = fdi();
    let api = connect(&fdi, &server, token());
    let error = api.list(Attributes::Omit, None).await.unwrap_err();
    let shown = format!("{fdi:?} {api:?} {error:?} {error} {:?} {:?}", token(), api.acquire().await);
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(shown.contains("bad token ***"), "{shown}");
}

#[tokio::test]
async fn two_spellings_of_one_instance_have_one_identity() {
    let fdi = fdi();
    let identity = |location: Location| {
        let connection = Connection {
            location,
            project_id: "p".into(),
            instance_id: "i".into(),
            iam_endpoint: None,
            ca_bundle: None,
        };
        fdi.identity(&connection).unwrap()
    };
    let region = identity(Location::Region("cn-north-4".into()));
    assert_eq!(region, identity(Location::Endpoint("https://ROMA.cn-north-4.myhuaweicloud.com:443/".into())));
    assert_ne!(region, identity(Location::Region("cn-east-3".into())));
}
