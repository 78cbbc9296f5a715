//! What clients see late, twice or again, and writes that the server refuses.

use super::{FakeApi, ServerState};

impl FakeApi {
    /// Sends over the silenced watches of the kind what they have missed, and goes on.
    pub fn resume(&self, kind: &str) {
        let state = &mut *self.state();
        for watch in state.silenced.extract_if(.., |watch| watch.kind == kind) {
            let missed = state.history.iter().filter(|(version, k, _)| k == kind && *version > watch.from);
            missed.for_each(|(_, _, line)| drop(watch.to.send(Ok(line.clone()))));
            state.watches.push(watch);
        }
    }

    /// From now on open watches get every event twice.
    pub fn repeat_events(&self) {
        self.state().repeats_events = true;
    }

    /// Sends the first event of this object again over the open watches of the kind, as an API
    /// server does whose data is restored beneath it.
    pub fn replay_first(&self, kind: &str, name: &str) {
        let state = &mut *self.state();
        let of_object = |line: &str| line.contains(&format!("\"uid-of-{name}\""));
        let (_, _, first) = state.history.iter().find(|(_, k, line)| k == kind && of_object(line)).unwrap();
        state.watches.iter().filter(|w| w.kind == kind).for_each(|w| drop(w.to.send(Ok(first.clone()))));
    }

    /// From now on the server answers every write with this status code and reason; `None` stops
    /// that.
    pub fn refuse_writes(&self, answer: Option<(u16, &'static str)>) {
        self.state().refusing = answer;
    }

    /// How many writes to this object's status there were, refused ones included.
    pub fn write_count(&self, name: &str) -> usize {
        self.state().writes.iter().filter(|written| *written == name).count()
    }

    /// How many lists allowed the server to answer from a cache that may be behind.
    pub fn stale_list_count(&self) -> usize {
        self.state().stale_lists
    }

    /// The generation that the status of this object is of.
    pub fn observed_generation(&self, kind: &str, name: &str) -> Option<i64> {
        self.state().objects.get(&(kind.to_owned(), name.to_owned()))?["status"]["observedGeneration"].as_i64()
    }

    /// Whether any version of an object of the kind contained this text.
    pub fn ever_contained(&self, kind: &str, text: &str) -> bool {
        self.state().history.iter().any(|(_, k, line)| k == kind && line.contains(text))
    }
}

impl ServerState {
    /// How often an event is sent.
    pub(super) fn copies(&self) -> usize {
        if self.repeats_events { 2 } else { 1 }
    }
}
