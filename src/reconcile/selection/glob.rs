//! `*` for any text and `?` for one character. Pure.
//!
//! The time is in proportion to the length of the text, whatever the pattern: one that goes back to
//! its last `*` takes as long as pattern times text, which users could keep a thread busy with.

/// A pattern that is ready to match many texts: an automaton with a state for each of its
/// characters, in which all states that are reached are followed at once, as the bits of words.
#[derive(Debug)]
pub struct Glob {
    /// For each character of the pattern but `*` and `?`, in order: the states that it leads on
    /// from.
    characters: Vec<(char, Vec<u64>)>,
    /// The states that any character leads on from: `?`.
    any: Vec<u64>,
    /// The states that any character stays in: `*`.
    stays: Vec<u64>,
    end: usize,
}

impl Glob {
    pub fn new(pattern: &str) -> Self {
        let end = pattern.chars().filter(|&character| character != '*').count();
        let none = vec![0; end / 64 + 1];
        let mut glob = Self { characters: Vec::new(), any: none.clone(), stays: none.clone(), end };
        let mut state = 0;
        for character in pattern.chars() {
            match character {
                '*' => set(&mut glob.stays, state),
                '?' => set(&mut glob.any, state),
                _ => {
                    let found = glob.characters.binary_search_by_key(&character, |(known, _)| *known);
                    let at = found.unwrap_or_else(|at| {
                        glob.characters.insert(at, (character, none.clone()));
                        at
                    });
                    set(&mut glob.characters[at].1, state);
                }
            }
            state += usize::from(character != '*');
        }
        for (_, leads_on) in &mut glob.characters {
            leads_on.iter_mut().zip(&glob.any).for_each(|(word, any)| *word |= any);
        }
        glob
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut reached = vec![0; self.any.len()];
        set(&mut reached, 0);
        for character in text.chars() {
            let found = self.characters.binary_search_by_key(&character, |(known, _)| *known);
            let leads_on = found.map_or(&self.any, |at| &self.characters[at].1);
            let (mut carry, mut alive) = (0, 0);
            for ((word, leads_on), stays) in reached.iter_mut().zip(leads_on).zip(&self.stays) {
                let next = *word & leads_on;
                *word = (*word & stays) | next << 1 | carry;
                carry = next >> 63;
                alive |= *word;
            }
            if alive == 0 {
                return false;
            }
        }
        reached[self.end / 64] & 1 << (self.end % 64) != 0
    }
}

fn set(states: &mut [u64], state: usize) {
    states[state / 64] |= 1 << (state % 64);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                by_definition(rest, text) || text.split_first().is_some_and(|(_, text)| by_definition(pattern, text))
            }
            ([wanted, pattern @ ..], [character, text @ ..]) => {
                (*wanted == '?' || wanted == character) && by_definition(pattern, text)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_it_is_defined(pattern in "[ab任*?]{0,7}", text in "[ab任c]{0,9}", long in 0..3_usize) {
            // Across the words of the states too.
            let (pattern, text) = (format!("{}{pattern}", "x".repeat(62 * long)), format!("{}{text}", "x".repeat(62 * long)));
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = by_definition(&characters(&pattern), &characters(&text));
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected, "{} {}", pattern, text);
        }
    }

    /// The shortest of several, for the machine may be busy.
    fn takes(pattern: &str, text: &str) -> Duration {
        let glob = Glob::new(pattern);
        let once = || {
            let began = Instant::now();
            for _ in 0..100 {
                assert!(!glob.matches(std::hint::black_box(text)));
            }
            began.elapsed()
        };
        (0..10).map(|_| once()).min().unwrap()
    }

    #[test]
    fn no_pattern_takes_much_longer_than_another_one() {
        let text = "a".repeat(256);
        let (simple, hostile) = (takes("*b", &text), takes(&format!("*{}b", "a".repeat(127)), &text));
        assert!(hostile < simple * 20, "{hostile:?} instead of {simple:?}");
    }
}
