//! The simulator as a program, for people, the demo, and tests that are not in Rust.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fdi_simulator::{AccessKey, Certificate, NewTasks, Options, Preset, PresetInstance, PresetToken, Simulator, User};

/// Simulates the FDI task API of ROMA Connect and the IAM token API.
///
/// Runs until Ctrl-C or SIGTERM. All state is in memory. Every listener serves the control API at
/// /_sim/.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen for plain HTTP; port 0 is a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Serve TLS too, with a certificate from the simulator's own authority
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0")]
    tls: Option<SocketAddr>,
    /// The certificate to present: right, expired, wrong-name or other-ca
    #[arg(long, default_value = "right", value_parser = certificate)]
    certificate: Certificate,
    /// Write the certificate of the authority (PEM) to this file
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca_out: Option<PathBuf>,
    /// A further listener that serves the control API while the others refuse or hold connections
    #[arg(long, value_name = "ADDRESS:PORT")]
    control: Option<SocketAddr>,
    /// Once everything listens, write the ports to this file, one per line: HTTP, then TLS and
    /// control if enabled
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Start with the contents of this JSON file (see the README)
    #[arg(long, value_name = "FILE")]
    preset: Option<PathBuf>,
    /// Project of the instance, the tokens and the tasks
    #[arg(long, value_name = "ID", default_value = "0123456789abcdef0123456789abcdef")]
    project: String,
    /// Create this instance
    #[arg(long, value_name = "ID", default_value = "1d94f3f6-1111-2222-3333-444455556666")]
    instance: String,
    /// Create this many stopped tasks in the instance
    #[arg(long, value_name = "N", default_value_t = 0)]
    tasks: usize,
    /// Accept this token for the project
    #[arg(long, value_name = "TOKEN")]
    token: Vec<String>,
    /// Accept this access key
    #[arg(long, value_name = "ACCESS:SECRET")]
    key: Vec<String>,
    /// Issue tokens to this user
    #[arg(long, value_name = "DOMAIN/NAME:PASSWORD")]
    user: Vec<String>,
    /// Keep request headers in the call log, with secrets masked
    #[arg(long)]
    record_headers: bool,
}

fn certificate(name: &str) -> Result<Certificate, String> {
    serde_json::from_value(name.into()).map_err(|_| "must be right, expired, wrong-name or other-ca".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fdi-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let options = Options {
        listen: arguments.listen,
        listen_tls: arguments.tls,
        certificate: arguments.certificate,
        listen_control: arguments.control,
        record_headers: arguments.record_headers,
        ..Options::default()
    };
    // Read before listening: an invalid preset must not leave a simulator without its tasks.
    let mut preset = match &arguments.preset {
        None => Preset::default(),
        Some(file) => read_preset(file)?,
    };
    add_arguments(&mut preset, &arguments)?;
    let sim = Simulator::start(options).await?;
    preset.apply(&sim);
    if let (Some(file), Some(pem)) = (&arguments.ca_out, sim.ca_pem()) {
        write_whole(file, &pem)?;
    }
    if let Some(file) = &arguments.port_file {
        let ports: Vec<String> = sim.ports().iter().map(u16::to_string).collect();
        write_whole(file, &(ports.join("\n") + "\n"))?;
    }
    print_addresses(&sim, &arguments);
    shutdown_signal().await?;
    Ok(())
}

fn read_preset(file: &Path) -> Result<Preset, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not a valid preset: {error}", file.display()))
}

fn add_arguments(preset: &mut Preset, arguments: &Arguments) -> Result<(), String> {
    preset.instances.push(PresetInstance {
        project: arguments.project.clone(),
        instance: arguments.instance.clone(),
        tasks: vec![NewTasks { count: arguments.tasks, ..NewTasks::default() }],
        policies: None,
    });
    for token in &arguments.token {
        let project = arguments.project.clone();
        preset.tokens.push(PresetToken { token: token.clone(), project, valid_seconds: 24 * 60 * 60 });
    }
    for key in &arguments.key {
        let (access, secret) = key.split_once(':').ok_or("--key must be ACCESS:SECRET")?;
        preset.keys.insert(access.to_owned(), AccessKey::new(secret));
    }
    for user in &arguments.user {
        let (who, password) = user.split_once(':').ok_or("--user must be DOMAIN/NAME:PASSWORD")?;
        let (domain, name) = who.split_once('/').ok_or("--user must be DOMAIN/NAME:PASSWORD")?;
        preset.users.push(User::new(domain, name, password));
    }
    Ok(())
}

/// Writes beside the file and renames, so that nobody reads half of it.
fn write_whole(file: &Path, text: &str) -> Result<(), String> {
    let beside = file.with_extension("part");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, file))
        .map_err(|error| format!("can't write {}: {error}", file.display()))
}

fn print_addresses(sim: &Simulator, arguments: &Arguments) {
    println!("FDI and IAM  {}", sim.url());
    if let Some(url) = sim.https_url() {
        println!("with TLS     {url}");
    }
    let control = sim.control_url().unwrap_or_else(|| sim.url());
    println!("control      {control}/_sim/");
    println!();
    println!("  curl -s {control}/_sim/                     overview");
    println!("  curl -s {control}/_sim/calls                every request so far");
    println!(
        "  curl -s {control}/_sim/instances/{}/{}/tasks -d '{{\"count\": 5}}' -H 'content-type: application/json'",
        arguments.project, arguments.instance
    );
}

async fn shutdown_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    }
}
