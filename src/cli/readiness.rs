//! Whether an object is Ready in its current generation, and why not. Pure.

use kube::core::ObjectMeta;
use serde::Serialize;

use super::tone::Tone;
use crate::crd::{Condition, condition_types, find_condition};

/// What the status of an object says about its current generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    pub ready: bool,
    /// The reason of the condition Ready, or what stands in for it.
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A user has to act.
    pub stalled: bool,
    /// The status is of the current generation.
    pub observed: bool,
}

impl Readiness {
    pub fn of(metadata: &ObjectMeta, observed_generation: i64, conditions: &[Condition]) -> Self {
        let generation = metadata.generation.unwrap_or_default();
        let ready = find_condition(conditions, condition_types::READY);
        let current = |condition: &&Condition| condition.observed_generation == generation;
        let Some(ready) = ready.filter(current).filter(|_| observed_generation == generation) else {
            return Self::not_observed(observed_generation);
        };
        let stalled = find_condition(conditions, condition_types::STALLED).is_some_and(Condition::is_true);
        let gone = metadata.deletion_timestamp.is_some();
        Self {
            ready: ready.is_true() && !gone,
            reason: if gone && ready.is_true() { "Deleting".to_owned() } else { ready.reason.to_string() },
            message: ready.message.to_string(),
            stalled,
            observed: true,
        }
    }

    /// The operator has not seen this generation.
    fn not_observed(observed_generation: i64) -> Self {
        let message = if observed_generation < 0 {
            "the operator has not reported anything yet: check that it runs, and that it watches this namespace"
        } else {
            "the status is of an older generation: the operator has not seen the last edit yet"
        };
        // As kstatus calls it; the operator's own NotObserved is about tasks.
        let reason = "LatestGenerationNotObserved".to_owned();
        Self { ready: false, reason, message: message.to_owned(), stalled: false, observed: false }
    }

    pub fn tone(&self) -> Tone {
        match self {
            Self { ready: true, .. } => Tone::Good,
            Self { stalled: true, .. } => Tone::Bad,
            _ => Tone::Busy,
        }
    }

    /// `Ready`, or the reason why not.
    pub fn word(&self) -> &str {
        if self.ready { "Ready" } else { &self.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::ConditionStatus;

    fn condition(type_: &'static str, status: ConditionStatus, generation: i64) -> Condition {
        Condition { observed_generation: generation, ..Condition::new(type_, status, "SomeReason", "Why.") }
    }

    fn metadata(generation: i64) -> ObjectMeta {
        ObjectMeta { generation: Some(generation), ..ObjectMeta::default() }
    }

    #[test]
    fn ready_of_an_older_generation_is_not_ready() {
        let ready = [condition("Ready", ConditionStatus::True, 1)];
        assert!(Readiness::of(&metadata(1), 1, &ready).ready);
        for (generation, observed) in [(2, 1), (2, 2), (1, -1)] {
            let readiness = Readiness::of(&metadata(generation), observed, &ready);
            assert_eq!(
                (readiness.ready, readiness.word()),
                (false, "LatestGenerationNotObserved"),
                "{generation} {observed}"
            );
        }
        assert_eq!(Readiness::of(&metadata(1), 1, &[]).word(), "LatestGenerationNotObserved");
    }

    #[test]
    fn a_stalled_object_says_why_in_the_colour_of_errors() {
        let conditions =
            [condition("Ready", ConditionStatus::False, 3), condition("Stalled", ConditionStatus::True, 3)];
        let readiness = Readiness::of(&metadata(3), 3, &conditions);
        assert!(readiness.stalled && readiness.tone() == Tone::Bad && readiness.word() == "SomeReason");
    }
}
