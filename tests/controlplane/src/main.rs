//! `controlplane`: starts a control plane to play with, or gets its programs ready.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use controlplane::{Binaries, ControlPlane, Error, Program, Release};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A real etcd and kube-apiserver on loopback, without Docker.
///
/// The programs are taken from the folder in `KUBEBUILDER_ASSETS`; else from the cache folder; else they are built with Go into the cache
/// folder. `K8S` chooses another pinned Kubernetes minor, for example `K8S=1.37`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane and keep it until Ctrl-C, SIGTERM, or the end of the standard input if that is a terminal or a pipe
    Run {
        /// Write the administrator's kubeconfig to this file too; it stays after the end
        #[arg(long, value_name = "PATH")]
        kubeconfig: Option<PathBuf>,
    },
    /// Find etcd, kube-apiserver and kubectl, or build them, and print the folder they are in
    Build,
    /// Print the folder with etcd, kube-apiserver and kubectl; fails if they would have to be built first
    Path,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { kubeconfig } => run(kubeconfig.as_deref()).await,
        Command::Build => build().await,
        Command::Path => path(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("controlplane: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(kubeconfig: Option<&Path>) -> Result<ExitCode, Error> {
    // Before the start, so that a signal during it ends what was started.
    let mut end = End::listen().map_err(Error::Signals)?;
    let plane = tokio::select! {
        started = ControlPlane::start() => started?,
        () = end.come() => return Ok(ExitCode::SUCCESS),
    };
    if let Some(path) = kubeconfig {
        plane.write_kubeconfig(path)?;
    }
    let path = kubeconfig.map_or_else(|| plane.kubeconfig_path(), Path::to_owned);
    println!("The API server is ready at {}", plane.server_url());
    println!("  export KUBECONFIG={}", path.display());
    println!("  export PATH={}:$PATH", plane.binaries().folder().display());
    println!("  kubectl get namespaces");
    println!("Ctrl-C stops it and removes its data.");
    end.come().await;
    plane.stop().await?;
    Ok(ExitCode::SUCCESS)
}

async fn build() -> Result<ExitCode, Error> {
    let binaries = Binaries::find_or_build(&Release::chosen()?, &Program::CONTROL_PLANE).await?;
    println!("{}", binaries.folder().display());
    Ok(ExitCode::SUCCESS)
}

fn path() -> Result<ExitCode, Error> {
    let release = Release::chosen()?;
    let Some(binaries) = Binaries::find(&release, &Program::CONTROL_PLANE)? else {
        eprintln!(
            "controlplane: the programs of Kubernetes {} are not built yet: run `controlplane build`",
            release.version()
        );
        return Ok(ExitCode::FAILURE);
    };
    println!("{}", binaries.folder().display());
    Ok(ExitCode::SUCCESS)
}

/// Waits for what should end a run.
struct End {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    input: Option<oneshot::Receiver<()>>,
}

impl End {
    fn listen() -> std::io::Result<Self> {
        // A thread of its own: tokio's standard input would hold up the end of the process until the next line.
        let input = input_means_something().then(|| {
            let (tell, input) = oneshot::channel();
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                let _ = tell.send(());
            });
            input
        });
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            input,
        })
    }

    async fn come(&mut self) {
        let input = async {
            match &mut self.input {
                Some(input) => drop(input.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = input => {}
        }
    }
}

/// A shell gives its background jobs /dev/null, whose end says nothing.
fn input_means_something() -> bool {
    let is_pipe = || std::fs::metadata("/dev/stdin").is_ok_and(|found| found.file_type().is_fifo());
    std::io::stdin().is_terminal() || is_pipe()
}
