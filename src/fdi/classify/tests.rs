use Cause as C;
use Class::{Config, SignIn, Split, SplitOnce, Throttled, Unavailable};

use super::*;

fn response(status: u16, headers: &[(&'static str, &str)], body: &str) -> HttpResponse {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let received = "2026-01-02T03:04:05Z".parse().unwrap();
    HttpResponse { status, headers: map, body: body.as_bytes().to_vec(), received }
}

fn classified(operation: Operation, method: Method, response: &HttpResponse) -> CallError {
    let redactor = Redactor::new(vec!["s3cr3t-value".into()]);
    classify(&RequestContext { operation, method, redactor: &redactor, tasks: 10 }, response)
}

fn flat(code: &str) -> String {
    format!(r#"{{"error_code":"{code}","error_msg":"Words of the service."}}"#)
}

fn wrapped(code: &str) -> String {
    format!(r#"{{"code":400,"reason":{{"error_code":"{code}","error_msg":"Words of the service."}}}}"#)
}

/// The whole table: operation, HTTP status and body give class, cause and code.
#[test]
#[allow(clippy::too_many_lines)]
fn every_error_response_has_its_class() {
    use Operation::{List, SignIn as Iam, Start, Stop};
    let html = "<html><body>502 Bad Gateway</body></html>".to_owned();
    let rows: Vec<(Operation, u16, String, Class, Cause, &str)> = vec![
        // Codes that name a task split a batch, whatever the status and the shape.
        (Start, 404, flat("FDI.3083"), Split, C::BatchRefused, "FDI.3083"),
        (Start, 200, flat("FDI.3083"), Split, C::BatchRefused, "FDI.3083"),
        (Start, 500, flat("FDI.3083"), Split, C::BatchRefused, "FDI.3083"),
        (Stop, 400, flat("FDI.3019"), Split, C::BatchRefused, "FDI.3019"),
        (Stop, 400, flat("FDI.3020"), Split, C::BatchRefused, "FDI.3020"),
        (Start, 400, flat("FDI.3021"), Split, C::BatchRefused, "FDI.3021"),
        (Start, 400, flat("FDI.3022"), Split, C::BatchRefused, "FDI.3022"),
        (Start, 400, flat("fdi.3023"), Split, C::BatchRefused, "fdi.3023"),
        (Start, 400, flat("FDI.3026"), Split, C::BatchRefused, "FDI.3026"),
        (Stop, 400, flat("FDI.3027"), Split, C::BatchRefused, "FDI.3027"),
        (Stop, 404, flat("FDI.3081"), Split, C::BatchRefused, "FDI.3081"),
        (Stop, 404, wrapped("FDI.3180"), Split, C::BatchRefused, "FDI.3180"),
        // Other codes of FDI split once.
        (Start, 400, flat("FDI.3150"), SplitOnce, C::BatchRefused, "FDI.3150"),
        (Start, 400, wrapped("FDI.3149"), SplitOnce, C::BatchRefused, "FDI.3149"),
        (Start, 200, flat("FDI.4711"), SplitOnce, C::BatchRefused, "FDI.4711"),
        // So does whatever else is wrong with a batch, for the list of the same instance works.
        (Start, 400, flat("ROMA.13000"), SplitOnce, C::BatchRefused, "ROMA.13000"),
        (Start, 404, flat("ROMA.00110002"), SplitOnce, C::BatchRefused, "ROMA.00110002"),
        (Stop, 422, flat("NEW.1"), SplitOnce, C::BatchRefused, "NEW.1"),
        (Start, 400, r#"{"error_code":1234,"error_msg":"x"}"#.into(), SplitOnce, C::BatchRefused, "1234"),
        (Start, 200, r#"{"error_code":400,"error_msg":"x"}"#.into(), SplitOnce, C::BatchRefused, "400"),
        (Start, 404, html.clone(), SplitOnce, C::BatchRefused, "HTTP 404"),
        (Start, 404, String::new(), SplitOnce, C::BatchRefused, "HTTP 404"),
        (Start, 400, r#"{"error_code":"FDI.30"#.into(), SplitOnce, C::BatchRefused, "HTTP 400"),
        // But not what the gateway refuses.
        (Start, 404, flat("APIGW.0101"), Config, C::RequestRejected, "APIGW.0101"),
        (Start, 405, flat("APIG.0501"), Config, C::RequestRejected, "APIG.0501"),
        // A list never splits.
        (List, 404, flat("FDI.3083"), Config, C::RequestRejected, "FDI.3083"),
        (List, 400, flat("FDI.3002"), Config, C::RequestRejected, "FDI.3002"),
        (List, 200, flat("FDI.3002"), Config, C::RequestRejected, "FDI.3002"),
        (List, 500, flat("FDI.3002"), Unavailable, C::Unavailable, "FDI.3002"),
        // Sign-in.
        (List, 401, flat("APIGW.0301"), SignIn, C::SignInRefused, "APIGW.0301"),
        (List, 401, flat("APIG.0301"), SignIn, C::SignInRefused, "APIG.0301"),
        (Start, 401, flat("APIGW.0303"), SignIn, C::SignInRefused, "APIGW.0303"),
        (Start, 401, flat("APIGW.0305"), SignIn, C::SignInRefused, "APIGW.0305"),
        (Start, 401, flat("APIGW.0307"), SignIn, C::SignInRefused, "APIGW.0307"),
        (List, 400, flat("ROMA.1000"), SignIn, C::SignInRefused, "ROMA.1000"),
        (List, 400, flat("ROMA.1002"), SignIn, C::SignInRefused, "ROMA.1002"),
        (Start, 200, flat("ROMA.1002"), SignIn, C::SignInRefused, "ROMA.1002"),
        (List, 400, flat("ROMA.1006"), SignIn, C::SignInRefused, "ROMA.1006"),
        (List, 403, flat("IAM.0002"), SignIn, C::SignInRefused, "IAM.0002"),
        (List, 401, String::new(), SignIn, C::SignInRefused, "HTTP 401"),
        (List, 401, html.clone(), SignIn, C::SignInRefused, "HTTP 401"),
        (List, 200, r#"{"error_code":401,"error_msg":"x"}"#.into(), SignIn, C::SignInRefused, "401"),
        (
            Iam,
            401,
            r#"{"error":{"code":401,"message":"The username or password is wrong."}}"#.into(),
            SignIn,
            C::SignInRefused,
            "401",
        ),
        (Iam, 403, r#"{"error":{"code":403,"message":"No."}}"#.into(), SignIn, C::SignInRefused, "403"),
        (Iam, 401, flat("IAM.0061"), SignIn, C::SignInRefused, "IAM.0061"),
        (
            Iam,
            400,
            r#"{"error":{"code":400,"message":"The request body is invalid"}}"#.into(),
            Config,
            C::RequestRejected,
            "400",
        ),
        (
            Iam,
            404,
            r#"{"error":{"code":404,"message":"Could not find project"}}"#.into(),
            Config,
            C::RequestRejected,
            "404",
        ),
        (Iam, 500, flat("IAM.0006"), Unavailable, C::Unavailable, "IAM.0006"),
        // Not allowed, and other rejections.
        (List, 403, flat("APIGW.0302"), Config, C::Forbidden, "APIGW.0302"),
        (Start, 403, r#"{"error_code":403,"error_msg":"Forbidden"}"#.into(), Config, C::Forbidden, "403"),
        (Start, 400, r#"{"error_code":403,"error_msg":"Forbidden"}"#.into(), Config, C::Forbidden, "403"),
        (Start, 403, flat("FDI.4711"), Config, C::Forbidden, "FDI.4711"),
        (List, 404, flat("APIGW.0101"), Config, C::RequestRejected, "APIGW.0101"),
        (List, 405, flat("APIGW.0501"), Config, C::RequestRejected, "APIGW.0501"),
        (List, 404, html.clone(), Config, C::RequestRejected, "HTTP 404"),
        (List, 400, r#"{"error_code":"FDI.30"#.into(), Config, C::RequestRejected, "HTTP 400"),
        (List, 400, flat("ROMA.13000"), Config, C::RequestRejected, "ROMA.13000"),
        (Start, 413, flat("APIGW.0201"), Config, C::RequestRejected, "APIGW.0201"),
        (Start, 302, String::new(), Config, C::RequestRejected, "HTTP 302"),
        // Throttled.
        (List, 429, flat("APIGW.0308"), Throttled, C::Throttled, "APIGW.0308"),
        (Start, 429, html.clone(), Throttled, C::Throttled, "HTTP 429"),
        (Start, 429, flat("FDI.3083"), Throttled, C::Throttled, "FDI.3083"),
        (Start, 200, flat("APIGW.0308"), Throttled, C::Throttled, "APIGW.0308"),
        (Iam, 429, flat("IAM.0012"), Throttled, C::Throttled, "IAM.0012"),
        (Iam, 400, flat("IAM.0012"), Throttled, C::Throttled, "IAM.0012"),
        // No usable response.
        (Start, 500, flat("FDI.9999"), Unavailable, C::Unavailable, "FDI.9999"),
        (Start, 200, flat("FDI.9999"), Unavailable, C::Unavailable, "FDI.9999"),
        (Start, 502, html.clone(), Unavailable, C::Unavailable, "HTTP 502"),
        (Start, 504, flat("APIGW.0201"), Unavailable, C::Unavailable, "APIGW.0201"),
        (List, 503, String::new(), Unavailable, C::Unavailable, "HTTP 503"),
        (List, 500, flat("ROMA.00110002"), Unavailable, C::Unavailable, "ROMA.00110002"),
        (List, 408, String::new(), Unavailable, C::Unavailable, "HTTP 408"),
        (Start, 200, html, Unavailable, C::Unavailable, "HTTP 200"),
        (Start, 200, String::new(), Unavailable, C::Unavailable, "HTTP 200"),
        (Start, 204, String::new(), Unavailable, C::Unavailable, "HTTP 204"),
        (Start, 200, flat("NEW.1"), Unavailable, C::Unavailable, "NEW.1"),
    ];
    for (operation, status, body, class, cause, code) in rows {
        let error = classified(operation, Method::Token, &response(status, &[], &body));
        assert_eq!(
            (error.class, error.cause, error.code.as_str()),
            (class, cause, code),
            "{operation} {status} {body}"
        );
        assert!(error.message.ends_with('.') && error.message.len() <= 512, "{}", error.message);
    }
}

#[test]
fn a_message_says_what_happened_and_what_to_do() {
    let error =
        classified(Operation::Start, Method::Token, &response(404, &[("x-request-id", "r-1")], &flat("FDI.3083")));
    assert_eq!(
        error.message,
        "FDI refused a whole call to start tasks: Words of the service (FDI.3083). Add a schedule plan to the task in ROMA Connect."
    );
    assert_eq!(error.request_id.as_deref(), Some("r-1"));
}

#[test]
fn a_batch_of_one_task_is_about_this_task() {
    let redactor = Redactor::new(Vec::new());
    let context =
        |tasks| RequestContext { operation: Operation::Stop, method: Method::Token, redactor: &redactor, tasks };
    let message = |tasks, code: &str| classify(&context(tasks), &response(400, &[], &flat(code))).message;
    assert!(message(1, "FDI.3026").starts_with("FDI refused to stop this task: "));
    assert!(message(1, "ROMA.13000").starts_with("The service refused to stop this task: "));
    assert!(message(2, "ROMA.13000").contains("a whole call to stop tasks"));
    assert!(message(2, "ROMA.13000").contains("open a ticket"), "and says what to do");
}

#[test]
fn a_response_that_is_no_json_is_named_by_its_type() {
    let redactor = Redactor::new(Vec::new());
    let context = RequestContext { operation: Operation::List, method: Method::Token, redactor: &redactor, tasks: 0 };
    let message =
        |name, value| malformed_response(&context, &response(200, &[(name, value)], ""), "it is no list").message;
    let compressed = message("content-encoding", "gzip");
    assert!(compressed.contains(r#"it is no list. It is compressed (content encoding "gzip")"#), "{compressed}");
    let page = message("content-type", "text/html; charset=utf-8");
    assert!(page.contains(r#"Its content type is "text/html; charset=utf-8""#), "{page}");
    assert!(
        message("content-type", "application/json;charset=utf-8").ends_with("it is no list. The operator tries again.")
    );
}

#[test]
fn each_refused_sign_in_has_its_message() {
    let iam = |words: &str| response(401, &[], &format!(r#"{{"error":{{"code":401,"message":"{words}"}}}}"#));
    let gateway = |words: &str| response(401, &[], &format!(r#"{{"error_code":"APIGW.0301","error_msg":"{words}"}}"#));
    for (method, response, expected) in [
        (Method::Password, iam("The username or password is wrong."), "domainName, userName and password"),
        (Method::Password, iam("The account is locked."), "The user is locked"),
        (Method::Password, iam("Please sign in with virtual MFA."), "second factor"),
        (Method::Password, iam("The password has expired."), "The user or its password has expired"),
        (Method::Password, response(401, &[], &flat("IAM.0061")), "The user is locked"),
        (Method::Password, response(403, &[], &flat("IAM.0081")), "only use the console"),
        (Method::Token, gateway("decrypt token fail"), "Put a new token into the Secret"),
        (Method::AccessKey, gateway("verify aksk signature fail"), "Check accessKey and secretKey"),
        (Method::AccessKey, gateway("AK access failed to reach the limit,forbidden."), "locked for five minutes"),
        (Method::AccessKey, gateway("Get secretKey failed,ak:******,err:ak not exist"), "no such access key"),
        (Method::AccessKey, gateway("calc ak sk signature fail:signature expired"), "Check the clock of the node"),
    ] {
        let operation = if method == Method::Password { Operation::SignIn } else { Operation::List };
        let message = classified(operation, method, &response).message;
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_expired_signature_names_the_skew_of_the_clock() {
    let body = r#"{"error_code":"APIGW.0301","error_msg":"signature expired"}"#;
    let error =
        |date: &str| classified(Operation::List, Method::AccessKey, &response(401, &[("date", date)], body)).message;
    assert!(error("Fri, 02 Jan 2026 03:26:35 GMT").contains("about 23 minutes behind"));
    assert!(error("Fri, 02 Jan 2026 01:04:05 GMT").contains("about 120 minutes ahead of"));
    assert!(error("Fri, 02 Jan 2026 03:04:00 GMT").contains("Check the clock"));
}

#[test]
fn retry_after_is_read_as_seconds_and_as_date_and_is_bounded() {
    for (value, expected) in [
        ("7", Some(7)),
        ("0", Some(0)),
        ("99999999999999999999999", Some(3600)),
        ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
        ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0)),
        ("soon", None),
        ("", None),
        ("-1", None),
    ] {
        let error = classified(Operation::List, Method::Token, &response(429, &[("retry-after", value)], ""));
        assert_eq!(error.retry_after, expected.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn the_message_of_a_redirect_says_that_it_was_not_followed() {
    let error = classified(Operation::List, Method::Token, &response(302, &[("location", "https://evil.example")], ""));
    assert!(error.message.contains("redirects are not followed") && !error.message.contains("evil"));
}

#[test]
fn an_echoed_secret_and_endless_words_do_not_reach_the_message() {
    let words = format!("token s3cr3t-value {}", "x".repeat(5000));
    let body = format!(r#"{{"error_code":"s3cr3t-value","error_msg":"{words}"}}"#);
    let error = classified(Operation::List, Method::Token, &response(400, &[("x-request-id", "s3cr3t-value")], &body));
    assert!(!format!("{error:?}").contains("s3cr3t-value"), "{error:?}");
    assert!(error.message.len() <= 512);
}

#[test]
fn the_cure_of_a_refused_batch_is_whole_in_the_256_bytes_of_a_failure() {
    for code in
        ["FDI.3083", "FDI.9000", "ROMA.13000", "NEW.1", "a code of the service that has nearly sixty-four bytes"]
    {
        for words in ["集".repeat(300), "long words ".repeat(60), String::new()] {
            let body = format!(r#"{{"error_code":"{code}","error_msg":"{words}"}}"#);
            let error = classified(Operation::Start, Method::Token, &response(400, &[], &body));
            assert_eq!(error.cause, C::BatchRefused);
            assert!(error.message.len() <= 256, "{} bytes: {}", error.message.len(), error.message);
            assert!(error.message.ends_with(error_codes::advice(code)), "{}", error.message);
            assert!(error.message.contains(&format!("({code})")), "{}", error.message);
        }
    }
}

#[test]
fn the_cure_of_any_other_refusal_is_whole_too() {
    let words = "long words ".repeat(60);
    let body = format!(r#"{{"error_code":"APIGW.0302","error_msg":"{words}"}}"#);
    let error = classified(Operation::Start, Method::Token, &response(403, &[], &body));
    assert!(error.message.len() <= 512 && error.message.ends_with("for this project."), "{}", error.message);
}
