//! The wall clock of one replica jumps by an hour, forwards and backwards: real processes under
//! libfaketime, which steps the real-time clock of one process and leaves the monotonic clock
//! alone, as an administrator or NTP does for a machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fdi_simulator::Operation;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Process, TIMEOUT, TestEnv, faults, shared};
use crate::leadership::{SHORT_LEASE, TAKEOVER_TIMEOUT, callers, calls, edit_continuously, wait_callers};

const HOUR: &str = "3600";
/// Nothing is due in this time but one or two lists.
const QUIET: Duration = Duration::from_secs(6);

/// Debian's libfaketime, in the folder of this machine's architecture.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let library = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketime.so.1");
    folders.filter_map(Result::ok).map(library).find(|path| path.exists())
}

/// A process with a clock of its own.
struct SteppedProcess {
    process: Process,
    offset: PathBuf,
}

impl SteppedProcess {
    fn start(env: &TestEnv, library: &Path, folder: &Path, name: &str) -> Self {
        let offset = folder.join(name);
        std::fs::write(&offset, "+0").unwrap();
        let environment = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", offset.as_path()),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
        ];
        Self { process: Process::start_in(env, &SHORT_LEASE, &environment), offset }
    }

    /// Steps the clock to this offset, in seconds.
    fn step(&self, offset: &str) {
        std::fs::write(&self.offset, offset).unwrap();
    }

    /// How many seconds the newest line of its log is ahead of the true time.
    fn log_offset(&self) -> i64 {
        self.process.clock().map_or(0, |clock| clock.duration_since(Timestamp::now()).as_secs())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_an_hour_causes_no_second_caller_no_pause_and_no_burst() {
    let Some(library) = library() else {
        eprintln!("SKIPPED: libfaketime is not installed (Debian: apt-get install faketime), so no clock was stepped");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
    let began = Timestamp::now();
    env.group("orders", "Running", &ids).await;
    let leader = SteppedProcess::start(&env, &library, folder.path(), "leader");
    leader.process.wait_leading().await;
    let follower = SteppedProcess::start(&env, &library, folder.path(), "follower");
    follower.process.wait_ready().await;
    wait_callers(&env, 1, TAKEOVER_TIMEOUT).await;

    for (stepped, which) in [(&leader, "the leader"), (&follower, "a follower")] {
        for sign in ["+", "-"] {
            // Under load: no other process calls, and the leader goes on.
            let edits = edit_continuously(&env);
            stepped.step(&format!("{sign}{HOUR}"));
            let seen = env.sim.last_seq();
            let went_on =
                env.sim.wait_for(TIMEOUT, |view| (calls(view.log()).last()?.seq > seen + 20).then_some(())).await;
            assert!(went_on.is_ok(), "{which} {sign}{HOUR}: nobody calls any more");
            edits.abort();
            let _ = edits.await;
            assert_eq!(env.sim.with_log(|log| callers(log).len()), 1, "{which} {sign}{HOUR}");

            // While idle: no hot loop, the next list comes in time, and an edit is carried out.
            env.edit("orders", json!({"desiredState": "Stopped"})).await;
            env.wait_ready("orders").await;
            let quiet_since = env.sim.last_seq();
            tokio::time::sleep(QUIET).await;
            let requests = env.sim.with_log(|log| calls(log).iter().filter(|call| call.seq > quiet_since).count());
            assert!(requests <= 4, "{requests} requests in {QUIET:?} with nothing to do, {which} {sign}{HOUR}");
            let listed = env.sim.wait_for(Duration::from_secs(12), |view| {
                let newest = calls(view.log()).into_iter().rfind(|call| call.operation == Operation::List)?;
                (newest.seq > quiet_since).then_some(())
            });
            assert!(listed.await.is_ok(), "no list after the poll interval of 10 s, {which} {sign}{HOUR}");
            let edited = std::time::Instant::now();
            env.edit("orders", json!({"desiredState": "Running"})).await;
            env.wait_ready("orders").await;
            faults::record(
                &format!("the wall clock of {which} jumps by {sign}1 h"),
                "no other process called; listed at the usual interval and carried out an edit",
                edited.elapsed(),
            );
        }
    }
    let offset = leader.log_offset();
    assert!((-3700..-3500).contains(&offset), "the leader's clock was not stepped: its offset is {offset} s");
    for condition in env.status("orders").await.conditions {
        let changed = condition.last_transition_time.0;
        assert!(
            (began - Duration::from_secs(1)..=Timestamp::now()).contains(&changed),
            "{changed} is not the true time"
        );
    }

    // The follower's clock is an hour behind: it takes over all the same.
    let edits = edit_continuously(&env);
    leader.process.signal(Signal::KILL);
    let took = wait_callers(&env, 2, TAKEOVER_TIMEOUT).await;
    edits.abort();
    faults::record(
        "the leader is killed while the follower's clock is an hour behind (Lease of 4 s)",
        "the Lease expired and the follower called",
        took,
    );
}
