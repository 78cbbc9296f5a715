//! One server process that ends with its holder, however the holder ends.
//!
//! The server is the child of a small shell, its supervisor, which waits on a pipe that only the
//! holder has open. The kernel closes the pipe when the holder dies, even by SIGKILL, and then the
//! shell kills the server. The shell is the server's parent and has not reaped it yet, so the
//! process id it kills is still the server's.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, Command, Stdio};

use tokio::sync::watch;

use crate::Error;

/// `$1` log file, `$2` folder to remove at the end or empty, then the server's command line.
///
/// The shell closes its own stdout, so that only the server holds it, and its end is the server's
/// end. At the end it closes its stderr too: nobody reads it once the holder is dead, and a shell
/// that writes "Killed" to a closed pipe dies of SIGPIPE.
const SUPERVISOR: &str = r#"
log=$1 folder=$2; shift 2
"$@" </dev/null 2>"$log" &
server=$!
exec >&-
while read -r signal; do kill -s "$signal" "$server"; echo "$signal" >&2; done
exec 2>/dev/null
kill -s KILL "$server"
wait "$server"
[ -z "$folder" ] || rm -rf -- "$folder"
"#;

/// A running server. Dropping it kills it in the background.
///
/// It uses no tokio I/O, because a control plane that a whole test binary shares outlives the
/// runtime of the test that started it.
#[derive(Debug)]
pub(crate) struct Server {
    program: &'static str,
    log: PathBuf,
    orders: ChildStdin,
    answers: BufReader<ChildStderr>,
    life: watch::Receiver<Life>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// The server has ended; its supervisor still runs.
    Ended,
    /// The supervisor has ended too, and has removed its folder.
    Gone,
}

/// How to start a [`Server`].
pub(crate) struct Start<'a> {
    pub(crate) program: &'static str,
    pub(crate) path: &'a Path,
    pub(crate) args: Vec<OsString>,
    /// Receives the server's stderr; emptied at the start.
    pub(crate) log: PathBuf,
    /// A folder to remove when the server has ended.
    pub(crate) remove: Option<&'a Path>,
}

impl Server {
    pub(crate) fn start(how: Start<'_>) -> Result<Self, Error> {
        let Start { program, path, args, log, remove } = how;
        let failed = |source| Error::Start { program: program.to_owned(), source };
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, program])
            .arg(&log)
            .arg(remove.unwrap_or(Path::new("")))
            .arg(path)
            .args(args)
            // Ctrl-C on a terminal reaches the foreground group, but only the holder may end the
            // servers.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(orders), Some(mut stdout), Some(stderr)) =
            (supervisor.stdin.take(), supervisor.stdout.take(), supervisor.stderr.take())
        else {
            return Err(Error::Supervisor { program });
        };
        let (sender, life) = watch::channel(Life::Running);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
            sender.send_replace(Life::Ended);
            let _ = supervisor.wait();
            sender.send_replace(Life::Gone);
        });
        Ok(Self { program, log, orders, answers: BufReader::new(stderr), life })
    }

    /// Whether the server has ended, by itself or by a signal.
    pub(crate) fn has_ended(&self) -> bool {
        *self.life.borrow() != Life::Running
    }

    /// Sends a signal such as `STOP`, and returns once it is sent. Takes about a millisecond, so it
    /// does not yield.
    pub(crate) fn signal(&mut self, signal: &str) -> Result<(), Error> {
        let mut answer = String::new();
        writeln!(self.orders, "{signal}")
            .and_then(|()| self.orders.flush())
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|_| Error::Supervisor { program: self.program })?;
        // If the shell could not send the signal, its error message comes first.
        if answer.trim_end() == signal { Ok(()) } else { Err(Error::Supervisor { program: self.program }) }
    }

    /// Returns when the server has ended.
    pub(crate) async fn ended(&mut self) {
        // An error means that the thread which reports the end is gone, so there is nothing to wait
        // for.
        let _ = self.life.wait_for(|life| *life != Life::Running).await;
    }

    /// Kills the server and returns when it has ended.
    pub(crate) async fn kill(self) {
        let Self { orders, mut life, .. } = self;
        drop(orders);
        let _ = life.wait_for(|life| *life == Life::Gone).await;
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(cannot read {}: {error})", self.log.display()))
    }

    /// Whether it ended because another process has its port.
    pub(crate) fn port_was_taken(&self) -> bool {
        self.has_ended() && self.log_tail().contains("address already in use")
    }
}

/// The last 20 lines, within the last 16 KiB.
fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(20)..].join("\n"))
}
