//! `*` for any text and `?` for one character. Pure.
//!
//! The time is in proportion to the length of the text, whatever the pattern: one that goes back to
//! its last `*` takes as long as pattern times text, which users could keep a thread busy with.

/// A pattern that is ready to match many texts: an automaton with a state for each of its
/// characters, in which all states that are reached are followed at once, as the bits of words.
#[derive(Debug)]
pub struct Glob {
    /// The characters of the pattern but `*` and `?`. The place of one, plus one, is its class; all
    /// others are of class 0.
    characters: Vec<char>,
    /// The classes of the ASCII characters: most names have no others.
    ascii: [u8; 128],
    /// For each class: the states that its characters lead on from.
    leads_on: Vec<u64>,
    /// The states that any character stays in: `*`.
    stays: Vec<u64>,
    end: usize,
}

impl Glob {
    pub fn new(pattern: &str) -> Self {
        let is_literal = |character: &char| !['*', '?'].contains(character);
        let mut characters: Vec<char> = pattern.chars().filter(is_literal).collect();
        characters.sort_unstable();
        characters.dedup();
        let end = pattern.chars().filter(|&character| character != '*').count();
        let words = end / 64 + 1;
        let leads_on = vec![0; (characters.len() + 1) * words];
        let mut glob = Self { characters, ascii: [0; 128], leads_on, stays: vec![0; words], end };
        for character in '\0'..='\x7f' {
            // They sort before all others, so none has a class above 128.
            glob.ascii[character as usize] = u8::try_from(glob.search(character)).unwrap_or_default();
        }
        let mut state = 0;
        for character in pattern.chars() {
            match character {
                '*' => set(&mut glob.stays, state),
                '?' => glob.leads_on.chunks_exact_mut(words).for_each(|states| set(states, state)),
                _ => {
                    let class = glob.class(character);
                    set(&mut glob.leads_on[class * words..], state);
                }
            }
            state += usize::from(character != '*');
        }
        glob
    }

    fn class(&self, character: char) -> usize {
        self.ascii.get(character as usize).map_or_else(|| self.search(character), |&class| usize::from(class))
    }

    fn search(&self, character: char) -> usize {
        self.characters.binary_search(&character).map_or(0, |place| place + 1)
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self.stays[..] {
            // Nearly all patterns: the states are in one register.
            [stays] => self.matches_in_a_word(stays, text),
            _ => self.matches_in_words(text),
        }
    }

    fn matches_in_a_word(&self, stays: u64, text: &str) -> bool {
        let mut reached = 1;
        for character in text.chars() {
            let next = reached & self.leads_on[self.class(character)];
            reached = (reached & stays) | next << 1;
            if reached == 0 {
                return false;
            }
        }
        reached & 1 << self.end != 0
    }

    fn matches_in_words(&self, text: &str) -> bool {
        let words = self.stays.len();
        let mut reached = vec![0; words];
        set(&mut reached, 0);
        for character in text.chars() {
            let leads_on = &self.leads_on[self.class(character) * words..];
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
