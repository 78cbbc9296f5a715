//! One server process that ends with its holder, however the holder ends.
//!
//! The server is not our child but that of a small shell, which waits on a pipe that only we hold
//! open. The kernel closes the pipe when we die, by SIGKILL too: then the shell kills the server.
//! The shell is the server's parent and has not waited for it yet, so the process id it kills is
//! the server's and can't have passed to another process.

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
/// The shell closes its own stdout, so that the server alone holds it: its end is the server's end.
/// At the end it closes its stderr too: nobody reads there when we are dead, and a shell that says
/// "Killed" to a closed pipe dies of it.
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

/// A running server. Dropping it kills it, without waiting for its end.
///
/// It uses no tokio I/O: a control plane that a whole test binary shares outlives the runtime of
/// the test that started it.
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
    /// The server has ended; its supervisor still waits for our word.
    Ended,
    /// The supervisor is gone too, and with it the folder it had to remove.
    Gone,
}

/// How a [`Server`] is to be started.
pub(crate) struct Start<'a> {
    pub(crate) program: &'static str,
    pub(crate) path: &'a Path,
    pub(crate) args: Vec<OsString>,
    /// Gets what the server writes to stderr; emptied at the start.
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
            // Ctrl-C on a terminal reaches the foreground group: the servers must outlive it until
            // their holder says otherwise.
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
        let (tell, life) = watch::channel(Life::Running);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
            tell.send_replace(Life::Ended);
            let _ = supervisor.wait();
            tell.send_replace(Life::Gone);
        });
        Ok(Self { program, log, orders, answers: BufReader::new(stderr), life })
    }

    /// Whether the server has ended, by itself or killed by someone.
    pub(crate) fn has_ended(&self) -> bool {
        *self.life.borrow() != Life::Running
    }

    /// Sends a signal such as `STOP`; it has been sent when this returns. Takes about a
    /// millisecond, so it does not yield.
    pub(crate) fn signal(&mut self, signal: &str) -> Result<(), Error> {
        let mut answer = String::new();
        writeln!(self.orders, "{signal}")
            .and_then(|()| self.orders.flush())
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|_| Error::Supervisor { program: self.program })?;
        // When the signal could not be sent the shell's complaint comes first.
        if answer.trim_end() == signal { Ok(()) } else { Err(Error::Supervisor { program: self.program }) }
    }

    /// Returns when the server has ended.
    pub(crate) async fn ended(&mut self) {
        // An error would mean that the thread which watches is gone, and then there is nothing to
        // wait for.
        let _ = self.life.wait_for(|life| *life != Life::Running).await;
    }

    /// Kills the server and returns when it is gone.
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

/// The last 20 lines, of which the last 16 KiB are looked at.
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
