//! The program `fdi-simulator`.

use std::fs;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::sockets::client;

#[tokio::test]
async fn the_program_prints_its_address_writes_its_files_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let (ports, ca) = (folder.path().join("ports"), folder.path().join("ca.pem"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_fdi-simulator"))
        .args(["--tasks", "3", "--token", "t", "--key", "AK:SK", "--user", "D/U:P", "--tls"])
        .arg("--port-file")
        .arg(&ports)
        .arg("--ca-out")
        .arg(&ca)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first.split_whitespace().last().unwrap().to_owned();
    // The files are written before the first line.
    let ports: Vec<u16> = fs::read_to_string(ports).unwrap().lines().map(|port| port.parse().unwrap()).collect();
    assert!(url.ends_with(&format!(":{}", ports[0])) && ports.len() == 2, "{first} {ports:?}");
    let trusting = client(Some(&fs::read_to_string(ca).unwrap()));
    let overview = trusting.get(format!("https://127.0.0.1:{}/_sim/", ports[1])).send().await.unwrap();
    let overview: serde_json::Value = overview.json().await.unwrap();
    assert_eq!(overview["instances"][0]["tasks"], 3);
    let pid = program.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(program.wait().await.unwrap().success());
}

#[tokio::test]
async fn an_invalid_preset_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let preset = folder.path().join("preset.json");
    fs::write(&preset, r#"{"instancs": []}"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fdi-simulator")).arg("--preset").arg(&preset).output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(told.contains("preset.json is not a valid preset: unknown field `instancs`"), "{told}");
}
