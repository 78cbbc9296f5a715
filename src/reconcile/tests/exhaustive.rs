//! Every life of a small instance: three tasks, two groups that share one, and all orders of edits,
//! drift, renames, restarts, and calls and lists that go wrong, up to a depth. One group lists IDs;
//! the other lists an ID and selects by name. `make model` goes deeper.
//!
//! In each state that a user can see: a group that is Ready is right now, and nothing that was sent
//! can still make it wrong. From each state the instance comes to rest once nothing goes wrong any
//! more, as desired, and is silent then.

mod step;
mod world;

use std::collections::HashMap;
use std::time::Instant;

use step::{Budget, Step, steps};
use world::World;

struct Search {
    steps: Vec<Step>,
    /// With what was left when each state was reached.
    seen: HashMap<u64, Vec<Budget>>,
    path: Vec<Step>,
    transitions: usize,
    rests: usize,
    /// Of how many states one is followed until it comes to rest.
    rest_every: u64,
}

impl Search {
    fn explore(&mut self, world: &World, budget: Budget) {
        let key = world.key();
        let covers = |known: &Budget| {
            known.steps >= budget.steps
                && known.edits >= budget.edits
                && known.faults >= budget.faults
                && known.restarts >= budget.restarts
                && known.console >= budget.console
        };
        let first = !self.seen.contains_key(&key);
        let known = self.seen.entry(key).or_default();
        if known.iter().any(covers) {
            return;
        }
        known.push(budget);
        if first && key.is_multiple_of(self.rest_every) {
            self.rests += 1;
            world.check_rest().unwrap_or_else(|message| panic!("{message}"));
        }
        for step in self.steps.clone() {
            let Some(left) = budget.after(step) else { continue };
            self.path.push(step);
            if let Some(mut next) = world.after(step) {
                self.transitions += 1;
                next.check().unwrap_or_else(|message| panic!("{message}"));
                self.explore(&next, left);
            }
            self.path.pop();
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("after {:?}", self.path);
        }
    }
}

fn explore(budget: Budget, rest_every: u64) {
    let began = Instant::now();
    let mut search =
        Search { steps: steps(), seen: HashMap::new(), path: Vec::new(), transitions: 0, rests: 0, rest_every };
    search.explore(&World::new(), budget);
    println!(
        "depth {}: {} states, {} transitions, {} followed until they rest, {:.1} s",
        budget.steps,
        search.seen.len(),
        search.transitions,
        search.rests,
        began.elapsed().as_secs_f64()
    );
    assert!(search.seen.len() > 1000, "the model explores next to nothing");
}

#[test]
fn no_order_of_events_makes_a_group_ready_that_is_wrong_or_keeps_it_from_resting() {
    explore(Budget { steps: 5, edits: 2, faults: 1, restarts: 1, console: 1 }, 32);
}

#[test]
#[ignore = "takes minutes; make model runs it"]
fn the_same_with_more_steps() {
    let depth = std::env::var("MODEL_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(7);
    explore(Budget { steps: depth, edits: 2, faults: 2, restarts: 1, console: 1 }, 64);
}
