//! Lists in a status are bounded in number and in size.

use serde::Serialize;

/// The first `most` of `items`, as far as their JSON has at most `bytes` bytes.
///
/// All lists of a status, its conditions at their longest and the rest fit in 96 KiB together.
pub(super) fn first<T: Serialize>(items: impl Iterator<Item = T>, most: usize, bytes: usize) -> Vec<T> {
    let mut used = 0;
    let fits = |item: &T| {
        used += serde_json::to_vec(item).map_or(0, |json| json.len() + 1);
        used <= bytes
    };
    items.take(most).take_while(fits).collect()
}
