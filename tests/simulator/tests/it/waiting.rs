//! Events wake conditions; nothing is polled.

use std::time::Duration;

use fdi_simulator::{Clock, Simulator};

use crate::caller::{Caller, INSTANCE, PROJECT};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_condition_is_woken_by_a_request_a_control_and_the_clock() {
    let caller = Caller::new();
    let ids = caller.instance.create_tasks(1);
    caller.instance.set_policies(|policies| policies.settle_ms = 60_000);
    let first_request = tokio::spawn({
        let sim = caller.sim.clone();
        async move { sim.wait_for(SOON, |view| view.log().first().map(|entry| entry.seq)).await }
    });
    tokio::task::yield_now().await;
    caller.batch("start", &ids);
    assert_eq!(first_request.await.unwrap(), Ok(1));
    let settled = tokio::spawn({
        let instance = caller.instance.clone();
        async move { instance.wait_until_all(true, &[], SOON).await }
    });
    tokio::task::yield_now().await;
    caller.sim.clock().advance(Duration::from_mins(1));
    assert_eq!(settled.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_change_in_real_time_wakes_a_condition_and_one_that_never_comes_times_out() {
    let sim = Simulator::start(fdi_simulator::Options { clock: Clock::real(), ..Default::default() }).await.unwrap();
    let instance = sim.instance(PROJECT, INSTANCE);
    let ids = instance.create_tasks(1);
    instance.set_manners(&ids[0], [fdi_simulator::Manner::Flaps { every_ms: 20 }]).unwrap();
    assert_eq!(instance.wait_until_all(true, &ids, SOON).await, Ok(()));
    let never = sim.wait_for(Duration::from_millis(30), |view| view.log().first().map(|entry| entry.seq)).await;
    assert!(never.is_err());
}
