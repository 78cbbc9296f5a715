//! What `fdi-operator plan` prints for the files that users have.

use std::io::Write as _;
use std::process::{Command, Stdio};

const GROUP: &str = "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiTaskGroup\n";

/// Exit code, standard output and standard error.
fn plan(manifests: &str, observed: Option<&str>) -> (i32, String, String) {
    plan_with(manifests, observed, &[])
}

fn plan_with(manifests: &str, observed: Option<&str>, flags: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("observed.txt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
    command
        .args(["plan", "--file", "-"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(observed) = observed {
        std::fs::write(&path, observed).unwrap();
        command.arg("--observed").arg(&path);
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn group(metadata: &str, state: &str, ids: &str) -> String {
    let spec = format!("{{instanceRef: {{name: orders}}, desiredState: {state}, taskIds: [{ids}]}}");
    format!("{GROUP}metadata: {metadata}\nspec: {spec}\n")
}

#[test]
fn a_group_that_is_not_applied_yet_takes_no_task_from_an_existing_one() {
    let live = "{name: old, namespace: orders, uid: u, generation: 1, creationTimestamp: '2026-11-26T06:58:00Z'}";
    let manifests = format!(
        "{}status: {{observedGeneration: 1}}\n---\n{}",
        group(live, "Running", "m1"),
        group("{name: new, namespace: orders}", "Stopped", "m1")
    );
    let (code, printed, _) = plan(&manifests, Some("m1 Running\n"));
    assert_eq!(code, 0);
    assert_eq!(
        printed,
        "0 calls\nno call: group \"old\": already in the desired state: m1\n\
         no call: group \"new\": the older group \"old\" owns them: m1\n"
    );
}

#[test]
fn each_call_names_its_groups_and_why_it_is_sent() {
    let manifests = format!(
        "{}---\n{}---\n{}",
        group("{name: a}", "Running", "t1, t2, t3"),
        group("{name: b}", "Stopped", "t4, t5"),
        group("{name: c}", "Running", "t6").replace("taskIds", "suspend: true, taskIds")
    );
    let (code, printed, _) = plan(&manifests, Some("t1 Stopped\nt2 Running\nt4 Running\nt5 Running\nt6 Stopped\n"));
    assert_eq!(code, 2);
    assert_eq!(
        printed,
        "call 1: stop t4 t5\n  group \"b\": must be Stopped, is Running: t4, t5\n\
         call 2: start t1\n  group \"a\": must be Running, is Stopped: t1\n\
         2 calls\n\
         no call: group \"a\": already in the desired state: t2\n\
         no call: group \"a\": not among the observed tasks: t3\n\
         no call: group \"c\": it is suspended: t6\n"
    );
}

#[test]
fn each_format_shows_the_same_plan() {
    let manifests = group("{name: a}", "Running", "t1, t2");
    let (code, names, _) = plan_with(&manifests, None, &["-o=name"]);
    assert_eq!((code, names.as_str()), (2, "t1\nt2\n"));
    let (_, json, _) = plan_with(&manifests, None, &["-o=json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["instance"], &json[0]["calls"][0]["tasks"][1]["taskId"]), (&"orders".into(), &"t2".into()));
    let (_, yaml, _) = plan_with(&manifests, None, &["-o=yaml"]);
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap(), json);
}

#[test]
fn lists_are_read_alone_and_beside_other_documents() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: fdi.romaconnect.dev/v1alpha1\n  kind: FdiTaskGroup\n  \
                metadata: {name: b}\n  spec: {instanceRef: {name: orders}, desiredState: Stopped, taskIds: [t2, t3]}\n";
    let (code, printed, _) = plan(list, None);
    assert!(code == 2 && printed.contains("call 1: stop t2 t3\n") && printed.contains("\n1 call\n"), "{printed}");
    let (code, printed, _) = plan(&format!("{}---\n{list}", group("{name: a}", "Running", "t1")), None);
    assert!(code == 2 && printed.contains("call 2: start t1\n") && printed.contains("2 calls\n"), "{printed}");
}

#[test]
fn what_the_api_server_would_reject_gets_no_plan() {
    let refused = format!(
        "{}---\n{}",
        group("{name: A_bad_Name}", "Running", "").replace("taskIds", "surprise: 1, taskIds"),
        group("{name: b}", "Running", "\"has space\", t1").replace("v1alpha1", "v9")
    );
    let (code, printed, errors) = plan(&refused, None);
    assert_eq!((code, printed.as_str()), (1, ""));
    for field in ["metadata.name: ", "spec.taskIds: ", "spec.surprise: ", "apiVersion: ", "spec.taskIds[0]: "] {
        assert!(errors.contains(field), "{field}: {errors}");
    }
    let twice = format!("{}---\n{}", group("{name: a}", "Running", "t1"), group("{name: a}", "Stopped", "t1"));
    let (code, _, errors) = plan(&twice, None);
    assert!(code == 1 && errors.contains("FdiTaskGroup \"a\": there are several documents"), "{errors}");
}

#[test]
fn a_suspended_instance_in_the_file_gets_no_calls() {
    let instance = "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiInstance\nmetadata: {name: orders}\nspec: {region: \
                    cn-north-4, projectId: p, instanceId: i, suspend: true, auth: {token: {secretRef: {name: s}}}}\n";
    let (code, printed, _) = plan(&format!("{instance}---\n{}", group("{name: a}", "Running", "t1")), None);
    assert!(code == 0 && printed.starts_with("0 calls\nno call: the FdiInstance is suspended\n"), "{printed}");
}
