use super::*;

const ACCESS_KEY: &str = "AKIDEXAMPLEROMA00001";
const SECRET_KEY: &str = "wJalrXUtnFEMI0K7MDENGbPxRfiCYEXAMPLEROMA";
const DATE: &str = "20260102T030405Z";
const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const ROMA: &str = "roma.cn-north-4.myhuaweicloud.com";
const INSTANCE: &str = "/v2/0123456789abcdef0123456789abcdef/fdi/instances/1d94f3f6-1111-2222-3333-444455556666";
const TASK: &str = "/tasks/49460e99d597464d885f871dd6acc894";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const JSON_UTF8: (&str, &str) = ("Content-Type", "application/json;charset=utf-8");
const SDK_DATE: (&str, &str) = ("X-Sdk-Date", DATE);
const PROJECT_ID: (&str, &str) = ("X-Project-Id", PROJECT);

/// One vector of the official SDK (huaweicloudsdkcore 3.1.219).
struct Vector {
    method: &'static str,
    path: String,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    canonical: String,
    canonical_hash: &'static str,
    signed: &'static str,
    signature: &'static str,
}

#[allow(clippy::too_many_lines)]
fn vectors() -> Vec<Vector> {
    let host = ("Host", ROMA);
    let usual = "content-type;host;x-project-id;x-sdk-date";
    let usual_lines = |content_type: &str| {
        format!("content-type:{content_type}\nhost:{ROMA}\nx-project-id:{PROJECT}\nx-sdk-date:{DATE}\n\n{usual}")
    };
    let json = usual_lines("application/json");
    let json_utf8 = usual_lines("application/json;charset=utf-8");
    vec![
        // V1 GET with query
        Vector {
            method: "GET",
            path: format!("{INSTANCE}/tasks"),
            query: "limit=100&offset=0&status=1&task_name=a%20b%2Bc%2Fd~e%2A&task_type=timing",
            headers: vec![JSON, SDK_DATE, PROJECT_ID, host],
            body: "",
            canonical: format!(
                "GET\n{INSTANCE}/tasks/\nlimit=100&offset=0&status=1&task_name=a%20b%2Bc%2Fd~e%2A&task_type=timing\n{json}\n{EMPTY}"
            ),
            canonical_hash: "d61976236b7ec997208122b4fc32fe968e9410704af9f21639cff6dbaaad9adb",
            signed: usual,
            signature: "729ebed810e19513bc4b2827a2ccbef2ac1c14845fbbfdfc460171ccc770c708",
        },
        // V2 POST with a JSON body
        Vector {
            method: "POST",
            path: format!("{INSTANCE}/batch-operation/tasks"),
            query: "",
            headers: vec![JSON_UTF8, SDK_DATE, PROJECT_ID, host],
            body: r#"{"action_id": "start", "list": [{"task_id": "49460e99d597464d885f871dd6acc894"}]}"#,
            canonical: format!(
                "POST\n{INSTANCE}/batch-operation/tasks/\n\n{json_utf8}\n43842f2c7e662d91103ae12f69781e9077ca9c40df75fc75b56401ca7de741a5"
            ),
            canonical_hash: "f05cdecc6b3800852e6b5a303aa07d913af076cda44a56cfe1dab2146681a3f3",
            signed: usual,
            signature: "0c24475fba0950b85921327bb375118e22be06500d6bcd869af9f0c003d0244a",
        },
        // V3 UTF-8 in query and body
        Vector {
            method: "POST",
            path: format!("{INSTANCE}/tasks"),
            query: "task_name=%E8%AE%A2%E5%8D%95%E5%90%8C%E6%AD%A5%20%C3%A9",
            headers: vec![JSON_UTF8, SDK_DATE, PROJECT_ID, host],
            body: r#"{"task":{"task_name":"t1","description":"数据集成 – naïve"}}"#,
            canonical: format!(
                "POST\n{INSTANCE}/tasks/\ntask_name=%E8%AE%A2%E5%8D%95%E5%90%8C%E6%AD%A5%20%C3%A9\n{json_utf8}\na186ee07148f799a7faa76ebe2eff0dbaf608d2b04ad45cf5355a1312c2480c2"
            ),
            canonical_hash: "eaaf41553bdc70b721a5425aeb8613df7699479aaf8f96b1242f1893c9f158fa",
            signed: usual,
            signature: "2f65e40391bb8b7c733013f21b865cf7b24f1acc2223c3bc0d8de1a5e6ff9198",
        },
        // V4 temporary key with security token
        Vector {
            method: "GET",
            path: format!("{INSTANCE}{TASK}"),
            query: "",
            headers: vec![
                JSON,
                SDK_DATE,
                PROJECT_ID,
                ("X-Security-Token", "gQpjbi1ub3J0aC00jEXAMPLE/token+value=="),
                host,
            ],
            body: "",
            canonical: format!(
                "GET\n{INSTANCE}{TASK}/\n\ncontent-type:application/json\nhost:{ROMA}\nx-project-id:{PROJECT}\nx-sdk-date:{DATE}\nx-security-token:gQpjbi1ub3J0aC00jEXAMPLE/token+value==\n\n{usual};x-security-token\n{EMPTY}"
            ),
            canonical_hash: "84cdf4782b62c6925d448784af89efe5e0b7b3673d9863a6a0991b67232290e0",
            signed: "content-type;host;x-project-id;x-sdk-date;x-security-token",
            signature: "5c1ce6297effdf0d1213ae16c8f2917f465d365f56cb8c8f99880898d703a00c",
        },
        // V5 port in the host, minimal headers
        Vector {
            method: "GET",
            path: format!("{INSTANCE}/statistics/tasks"),
            query: "",
            headers: vec![SDK_DATE, PROJECT_ID, ("Host", "127.0.0.1:18080")],
            body: "",
            canonical: format!(
                "GET\n{INSTANCE}/statistics/tasks/\n\nhost:127.0.0.1:18080\nx-project-id:{PROJECT}\nx-sdk-date:{DATE}\n\nhost;x-project-id;x-sdk-date\n{EMPTY}"
            ),
            canonical_hash: "3ce4b4af0bd3850356a9cf76e1360c592fd7f1499f963961103281ff9f4b3d8b",
            signed: "host;x-project-id;x-sdk-date",
            signature: "8eaa6234ffc070b158f0cfb7a5a09dcd51c8aca9e767560f99f460a349b0c882",
        },
        // V6 POST without a body
        Vector {
            method: "POST",
            path: format!("{INSTANCE}{TASK}/run"),
            query: "",
            headers: vec![JSON, SDK_DATE, PROJECT_ID, host],
            body: "",
            canonical: format!("POST\n{INSTANCE}{TASK}/run/\n\n{json}\n{EMPTY}"),
            canonical_hash: "cd26e1d117a5c09310deb486868cb6eece886c55a984cdd6fdc370e86a79d8b5",
            signed: usual,
            signature: "fa45713df4200c0f208d63c2aa4a15ad51b2205f110e6d5fd7f3d0aa58513d95",
        },
        // V7 only host and date signed, path with its slash already
        Vector {
            method: "GET",
            path: "/v3/projects/".to_owned(),
            query: "name=cn-north-4",
            headers: vec![SDK_DATE, ("Host", "iam.cn-north-4.myhuaweicloud.com")],
            body: "",
            canonical: format!(
                "GET\n/v3/projects/\nname=cn-north-4\nhost:iam.cn-north-4.myhuaweicloud.com\nx-sdk-date:{DATE}\n\nhost;x-sdk-date\n{EMPTY}"
            ),
            canonical_hash: "e92db4612b298261b54ae977c3128cc3b2c056466377f811e25bca85ad9eb77b",
            signed: "host;x-sdk-date",
            signature: "045d1bf0d195ce58d497b2c947602476e8b0677c2223307fe773424cd0fd54c1",
        },
        // V8 encoded path segment, padded header, header with an underscore
        Vector {
            method: "POST",
            path: format!("{INSTANCE}/tasks/x%20y%2Fz/terminate"),
            query: "",
            headers: vec![
                JSON,
                ("X-Extra", "  padded  value  "),
                ("X_Under", "not signed"),
                SDK_DATE,
                PROJECT_ID,
                host,
            ],
            body: "",
            canonical: format!(
                "POST\n{INSTANCE}/tasks/x%20y/z/terminate/\n\ncontent-type:application/json\nhost:{ROMA}\nx-extra:padded  value\nx-project-id:{PROJECT}\nx-sdk-date:{DATE}\n\ncontent-type;host;x-extra;x-project-id;x-sdk-date\n{EMPTY}"
            ),
            canonical_hash: "70c7a34098fcca304f23ecf7ed8bcc70ffd6faf3e4924917736876aec3e3928b",
            signed: "content-type;host;x-extra;x-project-id;x-sdk-date",
            signature: "b702060a385daeea46cb043c97b8a3855cba59cc1e37b6b267bf90f554eaea67",
        },
    ]
}

#[test]
fn the_eight_vectors_of_the_official_sdk_are_met_byte_for_byte() {
    for (index, vector) in vectors().into_iter().enumerate() {
        let number = index + 1;
        let request = Request {
            method: vector.method,
            path: &vector.path,
            query: vector.query,
            headers: &vector.headers,
            body: vector.body.as_bytes(),
        };
        assert_eq!(request.canonical(), vector.canonical, "V{number}");
        assert_eq!(
            request.string_to_sign(DATE),
            format!("SDK-HMAC-SHA256\n{DATE}\n{}", vector.canonical_hash),
            "V{number}"
        );
        assert_eq!(
            request.authorization(ACCESS_KEY, SECRET_KEY, DATE),
            format!(
                "SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders={}, Signature={}",
                vector.signed, vector.signature
            ),
            "V{number}"
        );
    }
}

#[test]
fn what_the_client_adds_to_a_request_is_what_the_official_sdk_adds() {
    let path = format!("{INSTANCE}{TASK}");
    let parts = Parts {
        method: "GET",
        host: ROMA,
        path: &path,
        query: "",
        content_type: "application/json",
        project_id: PROJECT,
        body: b"",
    };
    let security_token = "gQpjbi1ub3J0aC00jEXAMPLE/token+value==".into();
    let now = "2026-01-02T03:04:05.999Z".parse().unwrap();
    let added = parts.sign(&ACCESS_KEY.into(), &SECRET_KEY.into(), Some(&security_token), now);
    let names: Vec<&str> = added.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["authorization", "x-project-id", "x-sdk-date", "x-security-token"]);
    assert!(added[0].1.ends_with("5c1ce6297effdf0d1213ae16c8f2917f465d365f56cb8c8f99880898d703a00c"), "V4");
}

#[test]
fn repeated_empty_and_unsorted_query_names_are_sorted_by_name_and_value() {
    assert_eq!(canonical_query("b=2&a=&b=10&a&c=%2b+"), "a=&a=&b=10&b=2&c=%2B%2B");
    assert_eq!(canonical_query(""), "");
}
