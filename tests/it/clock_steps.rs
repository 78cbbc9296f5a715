//! The wall clock of one replica jumps by an hour, forwards and backwards: real processes under
//! libfaketime, which steps the real-time clock of one process and leaves the monotonic one alone,
//! as an administrator or NTP does for a machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fdi_simulator::Operation;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Process, SOON, Stage, faults, shared};
use crate::leadership::{QUICK, TAKE_OVER, callers, calls, restless, wait_callers};

const HOUR: &str = "3600";
/// Nothing is due in it but a look or two.
const QUIET: Duration = Duration::from_secs(6);

/// Debian's libfaketime, wherever this machine's architecture puts it.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let library = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketime.so.1");
    folders.filter_map(Result::ok).map(library).find(|path| path.exists())
}

/// A process with a clock of its own.
struct Stepped {
    process: Process,
    offset: PathBuf,
}

impl Stepped {
    fn start(stage: &Stage, library: &Path, folder: &Path, name: &str) -> Self {
        let offset = folder.join(name);
        std::fs::write(&offset, "+0").unwrap();
        let environment = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", offset.as_path()),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
        ];
        Self { process: Process::start_in(stage, &QUICK, &environment), offset }
    }

    /// Steps the clock to so many seconds beside the right time.
    fn step(&self, offset: &str) {
        std::fs::write(&self.offset, offset).unwrap();
    }

    /// How far beside the right time the newest line of its log is.
    fn beside(&self) -> i64 {
        self.process.clock().map_or(0, |clock| clock.duration_since(Timestamp::now()).as_secs())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_an_hour_makes_no_second_caller_no_pause_and_no_hurry() {
    let Some(library) = library() else {
        eprintln!("SKIPPED: libfaketime is not installed (Debian: apt-get install faketime), so no clock was stepped");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (stage, ids) = Stage::contested(shared().await, 1).await;
    let began = Timestamp::now();
    stage.group("orders", "Running", &ids).await;
    let leader = Stepped::start(&stage, &library, folder.path(), "leader");
    leader.process.wait_leading().await;
    let follower = Stepped::start(&stage, &library, folder.path(), "follower");
    follower.process.wait_ready().await;
    wait_callers(&stage, 1, TAKE_OVER).await;

    for (stepped, which) in [(&leader, "the leader"), (&follower, "a follower")] {
        for sign in ["+", "-"] {
            // While there is much to do: nobody else calls, and the caller goes on.
            let restless = restless(&stage);
            stepped.step(&format!("{sign}{HOUR}"));
            let seen = stage.sim.last_seq();
            let went_on =
                stage.sim.wait_for(SOON, |view| (calls(view.log()).last()?.seq > seen + 20).then_some(())).await;
            assert!(went_on.is_ok(), "{which} {sign}{HOUR}: nobody calls any more");
            restless.abort();
            let _ = restless.await;
            assert_eq!(stage.sim.with_log(|log| callers(log).len()), 1, "{which} {sign}{HOUR}");

            // And while there is nothing to do: no hot loop, the next look comes in time, an edit
            // is carried out.
            stage.edit("orders", json!({"desiredState": "Stopped"})).await;
            stage.wait_ready("orders").await;
            let quiet_since = stage.sim.last_seq();
            tokio::time::sleep(QUIET).await;
            let looks = stage.sim.with_log(|log| calls(log).iter().filter(|call| call.seq > quiet_since).count());
            assert!(looks <= 4, "{looks} requests in {QUIET:?} with nothing to do, {which} {sign}{HOUR}");
            let looked = stage.sim.wait_for(Duration::from_secs(12), |view| {
                let newest = calls(view.log()).into_iter().rfind(|call| call.operation == Operation::List)?;
                (newest.seq > quiet_since).then_some(())
            });
            assert!(looked.await.is_ok(), "no look at the next interval of 10 s, {which} {sign}{HOUR}");
            let edited = std::time::Instant::now();
            stage.edit("orders", json!({"desiredState": "Running"})).await;
            stage.wait_ready("orders").await;
            faults::row(
                &format!("the wall clock of {which} jumps by {sign}1 h"),
                "nobody else calls, looks at the usual interval, an edit carried out",
                edited.elapsed(),
            );
        }
    }
    let log_says = leader.beside();
    assert!((-3700..-3500).contains(&log_says), "the leader's clock was not stepped: {log_says} s beside");
    for condition in stage.status("orders").await.conditions {
        let changed = condition.last_transition_time.0;
        assert!(
            (began - Duration::from_secs(1)..=Timestamp::now()).contains(&changed),
            "{changed} is beside the true time"
        );
    }

    // The follower's clock is an hour late: it takes over all the same.
    let restless = restless(&stage);
    leader.process.signal(Signal::KILL);
    let took = wait_callers(&stage, 2, TAKE_OVER).await;
    restless.abort();
    faults::row(
        "the leader is killed, the follower's clock is an hour late, Lease of 4 s",
        "its Lease ran out, the follower calls",
        took,
    );
}
