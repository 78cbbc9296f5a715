//! The eight vectors V1–V8 made with huaweicloudsdkcore 3.1.219, and two requests of the official
//! SDK as it sent them, byte for byte.
#![allow(clippy::unwrap_used)]

use super::*;

const SECRET: &str = "wJalrXUtnFEMI0K7MDENGbPxRfiCYEXAMPLEROMA";
const DATE: &str = "20260102T030405Z";

struct Vector {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    canonical_request: &'static str,
    string_to_sign: &'static str,
    authorization: &'static str,
}

fn check(vector: &Vector) {
    let headers: Vec<(String, String)> =
        vector.headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let signed = Signed {
        method: vector.method,
        path: vector.path,
        query: vector.query,
        headers: &headers,
        body: vector.body.as_bytes(),
    };
    let authorization = Authorization::parse(vector.authorization).unwrap();
    let canonical = signed.canonical_request(&authorization.signed_headers).unwrap();
    assert_eq!(canonical, vector.canonical_request);
    assert_eq!(string_to_sign(DATE, &canonical), vector.string_to_sign);
    assert!(signed.is_signed_with(SECRET, DATE, &authorization));
    assert!(!signed.is_signed_with("another secret", DATE, &authorization));
    let names: Vec<&str> = authorization.signed_headers.iter().map(String::as_str).collect();
    assert_eq!(signed.authorize("AKIDEXAMPLEROMA00001", SECRET, DATE, &names).unwrap(), vector.authorization);
    for (at, _) in vector.body.char_indices().take(3) {
        let mut other = vector.body.as_bytes().to_vec();
        other[at] ^= 1;
        assert!(!Signed { body: &other, ..signed }.is_signed_with(SECRET, DATE, &authorization));
    }
}

#[test]
fn v1_a_get_with_query() {
    check(&Vector {
        method: "GET",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks",
        query: "limit=100&offset=0&status=1&task_name=a%20b%2Bc%2Fd~e%2A&task_type=timing",
        headers: &[
            ("Content-Type", "application/json"),
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("Host", "roma.cn-north-4.myhuaweicloud.com"),
        ],
        body: "",
        canonical_request: concat!(
            "GET\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/\n",
            "limit=100&offset=0&status=1&task_name=a%20b%2Bc%2Fd~e%2A&task_type=timing\n",
            "content-type:application/json\n",
            "host:roma.cn-north-4.myhuaweicloud.com\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "content-type;host;x-project-id;x-sdk-date\n",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "d61976236b7ec997208122b4fc32fe968e9410704af9f21639cff6dbaaad9adb",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature=729ebed810e19513bc4b2827a2ccbef2ac1c14845fbbfdfc460171ccc770c708",
    });
}

#[test]
fn v2_a_post_with_a_json_body() {
    check(&Vector {
        method: "POST",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/batch-operation/tasks",
        query: "",
        headers: &[
            ("Content-Type", "application/json;charset=utf-8"),
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("Host", "roma.cn-north-4.myhuaweicloud.com"),
        ],
        body: r#"{"action_id": "start", "list": [{"task_id": "49460e99d597464d885f871dd6acc894"}]}"#,
        canonical_request: concat!(
            "POST\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/batch-operation/tasks/\n",
            "\n",
            "content-type:application/json;charset=utf-8\n",
            "host:roma.cn-north-4.myhuaweicloud.com\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "content-type;host;x-project-id;x-sdk-date\n",
            "43842f2c7e662d91103ae12f69781e9077ca9c40df75fc75b56401ca7de741a5",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "f05cdecc6b3800852e6b5a303aa07d913af076cda44a56cfe1dab2146681a3f3",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature=0c24475fba0950b85921327bb375118e22be06500d6bcd869af9f0c003d0244a",
    });
}

#[test]
fn v3_utf8_in_query_and_body() {
    check(&Vector {
        method: "POST",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks",
        query: "task_name=%E8%AE%A2%E5%8D%95%E5%90%8C%E6%AD%A5%20%C3%A9",
        headers: &[
            ("Content-Type", "application/json;charset=utf-8"),
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("Host", "roma.cn-north-4.myhuaweicloud.com"),
        ],
        body: r#"{"task":{"task_name":"t1","description":"数据集成 – naïve"}}"#,
        canonical_request: concat!(
            "POST\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/\n",
            "task_name=%E8%AE%A2%E5%8D%95%E5%90%8C%E6%AD%A5%20%C3%A9\n",
            "content-type:application/json;charset=utf-8\n",
            "host:roma.cn-north-4.myhuaweicloud.com\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "content-type;host;x-project-id;x-sdk-date\n",
            "a186ee07148f799a7faa76ebe2eff0dbaf608d2b04ad45cf5355a1312c2480c2",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "eaaf41553bdc70b721a5425aeb8613df7699479aaf8f96b1242f1893c9f158fa",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature=2f65e40391bb8b7c733013f21b865cf7b24f1acc2223c3bc0d8de1a5e6ff9198",
    });
}

#[test]
fn v4_temporary_keys_with_a_security_token() {
    check(&Vector {
        method: "GET",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/49460e99d597464d885f871dd6acc894",
        query: "",
        headers: &[
            ("Content-Type", "application/json"),
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("X-Security-Token", "gQpjbi1ub3J0aC00jEXAMPLE/token+value=="),
            ("Host", "roma.cn-north-4.myhuaweicloud.com"),
        ],
        body: "",
        canonical_request: concat!(
            "GET\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/49460e99d597464d885f871dd6acc894/\n",
            "\n",
            "content-type:application/json\n",
            "host:roma.cn-north-4.myhuaweicloud.com\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "x-security-token:gQpjbi1ub3J0aC00jEXAMPLE/token+value==\n",
            "\n",
            "content-type;host;x-project-id;x-sdk-date;x-security-token\n",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "84cdf4782b62c6925d448784af89efe5e0b7b3673d9863a6a0991b67232290e0",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token, Signature=5c1ce6297effdf0d1213ae16c8f2917f465d365f56cb8c8f99880898d703a00c",
    });
}

#[test]
fn v5_a_host_with_a_port() {
    check(&Vector {
        method: "GET",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/statistics/tasks",
        query: "",
        headers: &[
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("Host", "127.0.0.1:18080"),
        ],
        body: "",
        canonical_request: concat!(
            "GET\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/statistics/tasks/\n",
            "\n",
            "host:127.0.0.1:18080\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "host;x-project-id;x-sdk-date\n",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "3ce4b4af0bd3850356a9cf76e1360c592fd7f1499f963961103281ff9f4b3d8b",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=host;x-project-id;x-sdk-date, Signature=8eaa6234ffc070b158f0cfb7a5a09dcd51c8aca9e767560f99f460a349b0c882",
    });
}

#[test]
fn v6_a_post_without_body() {
    check(&Vector {
        method: "POST",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/49460e99d597464d885f871dd6acc894/run",
        query: "",
        headers: &[
            ("Content-Type", "application/json"),
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("Host", "roma.cn-north-4.myhuaweicloud.com"),
        ],
        body: "",
        canonical_request: concat!(
            "POST\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/49460e99d597464d885f871dd6acc894/run/\n",
            "\n",
            "content-type:application/json\n",
            "host:roma.cn-north-4.myhuaweicloud.com\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "content-type;host;x-project-id;x-sdk-date\n",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "cd26e1d117a5c09310deb486868cb6eece886c55a984cdd6fdc370e86a79d8b5",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature=fa45713df4200c0f208d63c2aa4a15ad51b2205f110e6d5fd7f3d0aa58513d95",
    });
}

#[test]
fn v7_only_host_and_date_signed_and_a_path_that_ends_in_a_slash() {
    check(&Vector {
        method: "GET",
        path: "/v3/projects/",
        query: "name=cn-north-4",
        headers: &[("X-Sdk-Date", "20260102T030405Z"), ("Host", "iam.cn-north-4.myhuaweicloud.com")],
        body: "",
        canonical_request: concat!(
            "GET\n",
            "/v3/projects/\n",
            "name=cn-north-4\n",
            "host:iam.cn-north-4.myhuaweicloud.com\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "host;x-sdk-date\n",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "e92db4612b298261b54ae977c3128cc3b2c056466377f811e25bca85ad9eb77b",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=host;x-sdk-date, Signature=045d1bf0d195ce58d497b2c947602476e8b0677c2223307fe773424cd0fd54c1",
    });
}

#[test]
fn v8_an_encoded_path_segment_and_a_padded_header() {
    check(&Vector {
        method: "POST",
        path: "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/x%20y%2Fz/terminate",
        query: "",
        headers: &[
            ("Content-Type", "application/json"),
            ("X-Extra", "padded  value"),
            ("X_Under", "not signed"),
            ("X-Sdk-Date", "20260102T030405Z"),
            ("X-Project-Id", "0123456789abcdef0123456789abcdef"),
            ("Host", "roma.cn-north-4.myhuaweicloud.com"),
        ],
        body: "",
        canonical_request: concat!(
            "POST\n",
            "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks/x%20y/z/terminate/\n",
            "\n",
            "content-type:application/json\n",
            "host:roma.cn-north-4.myhuaweicloud.com\n",
            "x-extra:padded  value\n",
            "x-project-id:0123456789abcdef0123456789abcdef\n",
            "x-sdk-date:20260102T030405Z\n",
            "\n",
            "content-type;host;x-extra;x-project-id;x-sdk-date\n",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        string_to_sign: concat!(
            "SDK-HMAC-SHA256\n",
            "20260102T030405Z\n",
            "70c7a34098fcca304f23ecf7ed8bcc70ffd6faf3e4924917736876aec3e3928b",
        ),
        authorization: "SDK-HMAC-SHA256 Access=AKIDEXAMPLEROMA00001, SignedHeaders=content-type;host;x-extra;x-project-id;x-sdk-date, Signature=b702060a385daeea46cb043c97b8a3855cba59cc1e37b6b267bf90f554eaea67",
    });
}

/// Secret of the two recordings.
const SDK_SECRET: &str = "SKexample0000000000000000000000000000TEST";

/// Splits a request as recorded from the wire and verifies it.
fn check_recording(raw: &str) {
    let (head, body) = raw.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let target = lines.next().unwrap().split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let method = head.split(' ').next().unwrap();
    let signed = Signed { method, path, query, headers: &headers, body: body.as_bytes() };
    let authorization = Authorization::parse(&signed.header("authorization").unwrap()).unwrap();
    assert_eq!(authorization.access, "AKEXAMPLE0000000TEST");
    let date = signed.header("x-sdk-date").unwrap();
    assert!(signed.is_signed_with(SDK_SECRET, &date, &authorization));
    assert!(!signed.is_signed_with(SDK_SECRET, "20261123T214430Z", &authorization));
}

#[test]
fn the_official_sdks_own_list_request_verifies() {
    check_recording(concat!(
        "GET /v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/tasks?execute_status=ERROR&limit=10&offset=0&task_type=timing HTTP/1.1\n",
        "User-Agent: huaweicloud-usdk-python/3.0; os/Linux##1_SMP_PREEMPT_DYNAMIC_@0#x86_64 python/3.11.7 impl/CPython; app/03a5f7bb-8791-46b5-8798-f0cf4899006b\n",
        "Accept-Encoding: gzip, deflate\n",
        "Accept: */*\n",
        "Connection: keep-alive\n",
        "Content-Type: application/json\n",
        "X-Project-Id: 0123456789abcdef0123456789abcdef\n",
        "X-Sdk-Date: 20261123T214429Z\n",
        "Host: 127.0.0.1:38765\n",
        "Authorization: SDK-HMAC-SHA256 Access=AKEXAMPLE0000000TEST, SignedHeaders=content-type;host;user-agent;x-project-id;x-sdk-date, Signature=e3b23469b7f52f4600b101e186fd91335c3f30a782fb9fcce0a5af140ba26450\n",
        "\n",
    ));
}

#[test]
fn the_official_sdks_own_batch_request_verifies() {
    check_recording(concat!(
        "POST /v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666/batch-operation/tasks HTTP/1.1\n",
        "User-Agent: huaweicloud-usdk-python/3.0; os/Linux##1_SMP_PREEMPT_DYNAMIC_@0#x86_64 python/3.11.7 impl/CPython; app/03a5f7bb-8791-46b5-8798-f0cf4899006b\n",
        "Accept-Encoding: gzip, deflate\n",
        "Accept: */*\n",
        "Connection: keep-alive\n",
        "Content-Type: application/json;charset=utf-8\n",
        "X-Project-Id: 0123456789abcdef0123456789abcdef\n",
        "X-Sdk-Date: 20261123T214429Z\n",
        "Host: 127.0.0.1:38765\n",
        "Authorization: SDK-HMAC-SHA256 Access=AKEXAMPLE0000000TEST, SignedHeaders=content-type;host;user-agent;x-project-id;x-sdk-date, Signature=7cdc36b27572eb147da026f04252c646f56595d58087bb3145c4bfa8844b924f\n",
        "Content-Length: 130\n",
        "\n",
        "{\"action_id\": \"start\", \"list\": [{\"task_id\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}, {\"task_id\": \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}]}",
    ));
}

/// The signing guide's worked example (its secret is masked, so only the hash of the canonical
/// request is published).
#[test]
fn the_signing_guides_example_has_the_published_hash() {
    let headers: Vec<(String, String)> = [
        ("Content-Type", "application/json"),
        ("Host", "service.region.example.com"),
        ("X-Sdk-Date", "20191115T033655Z"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let signed = Signed {
        method: "GET",
        path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        query: "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
        headers: &headers,
        body: b"",
    };
    let names = ["content-type", "host", "x-sdk-date"].map(str::to_owned);
    assert_eq!(
        sha256_hex(signed.canonical_request(&names).unwrap().as_bytes()),
        "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
    );
}

#[test]
fn queries_are_sorted_by_decoded_name_then_value_and_empty_ones_are_kept() {
    assert_eq!(canonical_query("b=2&a=z&a=%C3%A9&a&=v"), "=v&a=&a=z&a=%C3%A9&b=2");
    assert_eq!(canonical_query("name=a+b*"), "name=a%20b%2A");
    assert_eq!(canonical_query(""), "");
}

#[test]
fn an_authorization_without_all_its_parts_is_none() {
    assert_eq!(Authorization::parse("SDK-HMAC-SHA256 Access=a, Signature=b"), None);
    assert_eq!(Authorization::parse("Bearer abc"), None);
}
