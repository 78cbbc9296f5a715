//! Computing on a thread that the system runs after those of others: as long as somebody else, be
//! it an API server on the same node, has work to do, it gets a small share of a core.

use std::panic::resume_unwind;
use std::thread;

use tokio::runtime::Handle;

/// A thread of this niceness gets a tenth of what one of niceness 0 gets.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Runs `step` on a new thread, in the caller's runtime, and waits for its end. A thread cannot
/// raise its priority again without privileges, so it is not used twice.
pub fn run<T: Send>(mut step: impl FnMut() -> T + Send) -> T {
    let runtime = Handle::current();
    let ran = thread::scope(|scope| {
        let thread = thread::Builder::new().name("low-priority".to_owned()).spawn_scoped(scope, || {
            let _in_it = runtime.enter();
            lower_priority();
            step()
        });
        thread.ok().map(thread::ScopedJoinHandle::join)
    });
    match ran {
        Some(Ok(result)) => result,
        Some(Err(panic)) => resume_unwind(panic),
        // There are too many threads.
        None => step(),
    }
}

/// Of this thread alone. Where that is forbidden, its priority stays.
#[cfg(target_os = "linux")]
fn lower_priority() {
    let _ = rustix::process::nice(NICENESS);
}

/// Elsewhere priorities are those of processes.
#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_runs_in_the_runtime_and_changes_no_other_thread() {
        let spawned = run(|| tokio::spawn(async { 7 }));
        assert_eq!(spawned.await.unwrap(), 7);
        #[cfg(target_os = "linux")]
        {
            let niceness = || rustix::process::getpriority_process(None).unwrap();
            let before = niceness();
            assert_eq!((run(niceness), niceness()), ((before + NICENESS).min(19), before));
        }
    }

    #[tokio::test]
    #[should_panic = "as it was"]
    async fn a_panic_is_the_callers() {
        run(|| panic!("as it was"));
    }
}
