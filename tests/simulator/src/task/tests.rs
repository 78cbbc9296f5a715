use super::*;

fn policies() -> Policies {
    Policies::default()
}

fn task(manner: Manner) -> Task {
    let new = NewTasks { manners: vec![manner], ..NewTasks::default() };
    Task::new("t".into(), "t-1".into(), &new, 1_000)
}

#[test]
fn a_task_that_settles_later_is_seen_in_its_old_state_until_then() {
    let mut task = task(Manner::SettlesAfter { ms: 500 });
    task.command(true, 1_000, &policies());
    assert_eq!((task.running, task.target(), task.next_due()), (false, true, Some(1_500)));
    task.settle(1_499, &policies());
    assert!(!task.running);
    task.settle(1_500, &policies());
    assert_eq!((task.running, task.last_run), (true, LastRun::Waiting));
    assert_eq!(task.as_seen_at(1_499).map(|task| task.running), Some(false));
    assert_eq!(task.as_seen_at(999), None);
}

#[test]
fn a_task_that_never_settles_takes_commands_and_stays() {
    let mut task = task(Manner::NeverSettles);
    task.command(true, 1_000, &policies());
    task.settle(i64::MAX / 4, &policies());
    assert!(!task.running);
}

#[test]
fn a_task_that_flaps_flips_at_each_interval_also_when_time_leaps() {
    let mut task = task(Manner::Flaps { every_ms: 100 });
    task.settle(1_099, &policies());
    assert!(!task.running);
    task.settle(1_100, &policies());
    assert!(task.running);
    task.settle(1_100 + 200_000, &policies());
    assert!(task.running);
    task.settle(1_100 + 200_100, &policies());
    assert!(!task.running);
}

#[test]
fn a_counted_refusal_is_used_up() {
    let mut task = task(Manner::Refuses { action: None, code: "C".into(), message: "m".into(), times: Some(1) });
    assert!(task.objection(Action::Stop).is_some());
    assert!(task.objection(Action::Stop).is_none());
}

#[test]
fn a_missing_schedule_plan_does_not_hinder_a_stop() {
    let mut task = task(Manner::NoSchedulePlan);
    assert!(task.objection(Action::Stop).is_none());
    assert_eq!(task.objection(Action::Start), Some(Objection::NoSchedulePlan));
}

fn failing(code: u16, every_ms: Option<u64>, times: Option<u32>) -> Task {
    let manners = vec![Manner::FailsRuns { code, every_ms, times }];
    let new = NewTasks { running: true, manners, ..NewTasks::default() };
    Task::new("t".into(), "t-1".into(), &new, 1_000)
}

fn ends(task: &Task) -> Vec<(Millis, LastRun, u16)> {
    task.runs().map(|run| (run.ended_at.unwrap_or(-1), run.execute_status, run.code)).collect()
}

#[test]
fn runs_fail_at_each_interval_and_succeed_when_the_failures_are_used_up() {
    let mut task = failing(103, Some(100), Some(2));
    task.settle(1_000, &policies());
    assert_eq!((task.last_run, task.next_due()), (LastRun::Error, Some(1_100)));
    task.settle(5_000, &policies());
    assert_eq!((task.last_run, task.next_due()), (LastRun::Success, None));
    let wanted = [(1_000, LastRun::Error, 103), (1_100, LastRun::Error, 103), (1_200, LastRun::Success, 901)];
    assert_eq!(ends(&task), wanted);
}

#[test]
fn a_leap_in_time_makes_no_more_runs_than_are_kept() {
    let mut task = failing(914, Some(1), None);
    task.settle(1_000 + 100_000_000, &policies());
    assert_eq!((task.runs().len(), task.next_due()), (MAX_RUNS, Some(100_001_001)));
    assert_eq!(task.runs().next_back().map(|run| run.started_at), Some(100_001_000));
}

#[test]
fn a_task_that_is_off_has_no_failing_runs_until_it_is_started() {
    let mut task = task(Manner::FailsRuns { code: 503, every_ms: None, times: None });
    task.settle(5_000, &policies());
    assert_eq!((task.last_run, task.runs().len()), (LastRun::Unstarted, 0));
    task.command(true, 6_000, &policies());
    assert_eq!(ends(&task), [(6_000, LastRun::Error, 503)]);
}

#[test]
fn a_cured_task_succeeds_and_one_in_real_time_runs_on() {
    for (kind, wanted) in [(TaskType::Timing, LastRun::Success), (TaskType::Realtime, LastRun::Running)] {
        let manners = vec![Manner::FailsRuns { code: 103, every_ms: None, times: None }];
        let new = NewTasks { running: true, task_type: kind, manners, ..NewTasks::default() };
        let mut task = Task::new("t".into(), "t-1".into(), &new, 1_000);
        task.settle(1_000, &policies());
        task.set_failing_runs(None, 2_000);
        assert_eq!((task.last_run, task.runs().len(), task.manners.len()), (wanted, 2, 0));
    }
}

#[test]
fn a_stop_cancels_the_run_of_a_scheduled_task_or_not_as_the_policy_says() {
    for (stop_cancels_run, wanted) in [(true, LastRun::Cancelled), (false, LastRun::Running)] {
        let policies = Policies { stop_cancels_run, ..Policies::default() };
        let new = NewTasks { running: true, last_run: LastRun::Running, ..NewTasks::default() };
        let mut task = Task::new("t".into(), "t-1".into(), &new, 1_000);
        task.command(false, 2_000, &policies);
        assert_eq!((task.running, task.last_run), (false, wanted));
        assert_eq!(task.terminate(3_000), !stop_cancels_run);
        let ended_at = if stop_cancels_run { 2_000 } else { 3_000 };
        assert_eq!(ends(&task), [(ended_at, LastRun::Cancelled, 16)]);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever happens to a task: its newest run that began is in the state that lists show as its
    /// last.
    #[test]
    fn the_monitor_log_agrees_with_the_last_run(
        realtime in proptest::bool::ANY,
        stop_cancels_run in proptest::bool::ANY,
        steps in proptest::collection::vec((0_u8..9, 0_i64..200), 0..40),
    ) {
        let task_type = if realtime { TaskType::Realtime } else { TaskType::Timing };
        let mut task = Task::new("t".into(), "t-1".into(), &NewTasks { task_type, ..NewTasks::default() }, 0);
        let policies = Policies { run_ms: 50, settle_ms: 20, stop_cancels_run, ..Policies::default() };
        let mut now = 0;
        for (step, later) in steps {
            now += later;
            task.settle(now, &policies);
            match step {
                0 => task.command(true, now, &policies),
                1 => task.command(false, now, &policies),
                2 => task.switch(!task.running, now, &policies),
                3 => task.run_by_hand(now, &policies),
                4 => drop(task.terminate(now)),
                5 => task.set_last_run(LastRun::Error, Some(103), now),
                6 => task.set_last_run(LastRun::Running, None, now),
                7 => task.set_failing_runs(
                    Some(Manner::FailsRuns { code: 503, every_ms: Some(30), times: Some(3) }),
                    now,
                ),
                _ => task.set_failing_runs(None, now),
            }
            task.settle(now, &policies);
            let newest = task.runs().rfind(|run| run.code != 914).map(|run| run.execute_status);
            match task.last_run {
                LastRun::Unstarted => proptest::prop_assert_eq!(newest, None),
                LastRun::Waiting => proptest::prop_assert_ne!(newest, Some(LastRun::Running)),
                // Cancelled before it began, or while it was executing.
                LastRun::Cancelled => proptest::prop_assert_ne!(newest, Some(LastRun::Running)),
                ended => proptest::prop_assert_eq!(newest, Some(ended)),
            }
            let open = task.runs().filter(|run| run.ended_at.is_none()).count();
            proptest::prop_assert_eq!(open, usize::from(task.last_run == LastRun::Running));
            let starts: Vec<_> = task.runs().map(|run| run.started_at).collect();
            proptest::prop_assert!(starts.is_sorted(), "{:?}", starts);
        }
    }
}
