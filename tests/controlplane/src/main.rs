//! `controlplane`: starts a control plane to experiment with, or finds and builds its programs.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use clap::{Parser, Subcommand};
use controlplane::{Binaries, ControlPlane, Enclosure, Error, Inside, Node, Program, Release};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A real etcd and kube-apiserver on loopback, without Docker.
///
/// The programs come from the folder in `KUBEBUILDER_ASSETS`, else from the cache folder, into
/// which they are built with Go if necessary. `K8S` selects another pinned Kubernetes minor, for
/// example `K8S=1.37`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane and keep it until Ctrl-C, SIGTERM, or the end of standard input if
    /// that is a terminal or a pipe
    Run {
        /// Write the administrator's kubeconfig to this file too; the file stays afterwards
        #[arg(long, value_name = "PATH")]
        kubeconfig: Option<PathBuf>,
    },
    /// Start a control plane and a real node that runs pods; keep them as `run` does, or until
    /// COMMAND ends, and exit with its status
    ///
    /// Both run in their own PID, mount and network namespaces, and so does COMMAND, with
    /// KUBECONFIG and PATH set for kubectl. Needs root on Linux. Nothing stays on the machine,
    /// however it ends.
    Node {
        /// Import the images of this archive (OCI or Docker); may be repeated
        #[arg(long = "image", value_name = "ARCHIVE")]
        images: Vec<PathBuf>,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Run by `node` in the namespaces
    #[command(hide = true)]
    Inside {
        folder: PathBuf,
        #[arg(long = "image")]
        images: Vec<PathBuf>,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Check whether this machine can run a node, and name what is missing
    NodeCheck,
    /// Find or build etcd, kube-apiserver and kubectl, and print their folder
    Build,
    /// Print the folder of etcd, kube-apiserver and kubectl; fail if they are not built yet
    Path,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { kubeconfig } => run(kubeconfig.as_deref()).await,
        Command::Node { images, command } => node(&images, &command).await,
        Command::Inside { folder, images, command } => inside(&folder, &images, &command).await,
        Command::NodeCheck => Enclosure::check().map(|()| ExitCode::SUCCESS),
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
    // Before the start, so that a signal during the start ends what is already running.
    let mut end = End::listen(true).map_err(Error::Signals)?;
    let plane = tokio::select! {
        started = ControlPlane::start() => started?,
        () = end.come() => return Ok(ExitCode::SUCCESS),
    };
    if let Some(path) = kubeconfig {
        plane.write_kubeconfig(path)?;
    }
    let path = kubeconfig.map_or_else(|| plane.kubeconfig_path(), Path::to_owned);
    let message = format!(
        "The API server is ready at {}
  export KUBECONFIG={}
  export PATH={}:$PATH
  kubectl get namespaces
Ctrl-C stops it and removes its data.
",
        plane.server_url(),
        path.display(),
        plane.binaries().folder().display()
    );
    // A reader that closes the pipe early, such as `head -1`, is no reason to end.
    let _ = std::io::stdout().write_all(message.as_bytes());
    end.come().await;
    plane.stop().await?;
    Ok(ExitCode::SUCCESS)
}

async fn node(images: &[PathBuf], command: &[OsString]) -> Result<ExitCode, Error> {
    let mut end = End::listen(command.is_empty()).map_err(Error::Signals)?;
    let enclosure = tokio::select! {
        made = Enclosure::make() => made?,
        () = end.come() => return Ok(ExitCode::SUCCESS),
    };
    let itself =
        std::env::current_exe().map_err(|source| Error::Start { program: "controlplane".to_owned(), source })?;
    let mut inside = enclosure.command(&itself)?;
    inside.arg("inside").arg(enclosure.folder());
    for image in images {
        // A relative path stays valid: the working folder is the same inside.
        inside.arg("--image").arg(image);
    }
    if command.is_empty() {
        inside.stdin(Stdio::null());
    }
    inside.arg("--").args(command);
    let ended = run_inside(inside, &mut end).await;
    enclosure.remove().await?;
    ended
}

/// Waits for the end of the command inside, or ends it.
async fn run_inside(inside: std::process::Command, end: &mut End) -> Result<ExitCode, Error> {
    let failed = |source| Error::Start { program: "unshare".to_owned(), source };
    let mut inside = tokio::process::Command::from(inside).kill_on_drop(true).spawn().map_err(failed)?;
    tokio::select! {
        status = inside.wait() => Ok(code(status.map_err(failed)?)),
        () = end.come() => {
            inside.kill().await.map_err(failed)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A command that ends by a signal has failed.
fn code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

async fn inside(folder: &Path, images: &[PathBuf], command: &[OsString]) -> Result<ExitCode, Error> {
    let started = Instant::now();
    let node = Node::start(Inside::of(folder)?, images).await?;
    let (seconds, kubeconfig) = (started.elapsed().as_secs_f32(), node.plane().kubeconfig_path());
    if let Some((program, args)) = command.split_first() {
        eprintln!("controlplane: the node was ready in {seconds:.1} s");
        let failed = |source| Error::Start { program: program.to_string_lossy().into_owned(), source };
        let mut child = tokio::process::Command::new(program);
        child.args(args).env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", folder.join("kubectl-cache"));
        return Ok(code(child.status().await.map_err(failed)?));
    }
    // This process cannot know the holder's process id outside; the folder's name finds it.
    println!(
        "The node is ready after {seconds:.1} s. Enter its namespaces with
  nsenter --mount --net --pid --target $(pgrep -o -f 'controlplane inside {}')
  export KUBECONFIG={}
  export PATH={}:$PATH
  kubectl get pods -A
Ctrl-C stops it and removes everything.",
        folder.display(),
        kubeconfig.display(),
        node.plane().binaries().folder().display(),
    );
    std::future::pending().await
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

/// Waits for whatever ends a run.
struct End {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    input: Option<oneshot::Receiver<()>>,
}

impl End {
    /// `input`: whether the end of standard input ends the run.
    fn listen(input: bool) -> std::io::Result<Self> {
        // A separate thread, because tokio's standard input would delay the end of the process
        // until the next line.
        let input = (input && input_means_something()).then(|| {
            let (sender, input) = oneshot::channel();
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                let _ = sender.send(());
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

/// A shell gives its background jobs /dev/null, whose end means nothing.
fn input_means_something() -> bool {
    let is_pipe = || std::fs::metadata("/dev/stdin").is_ok_and(|found| found.file_type().is_fifo());
    std::io::stdin().is_terminal() || is_pipe()
}
