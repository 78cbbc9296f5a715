//! A short text that stands for a set of tasks.

use ring::digest::{Context, SHA256};

use crate::fdi::TaskId;

/// The same for the same IDs, which come sorted. Of the hash 8 bytes are shown: they tell a change
/// apart, and protect nothing.
pub fn digest<'a>(ids: impl Iterator<Item = &'a TaskId>) -> String {
    let mut context = Context::new(&SHA256);
    for id in ids {
        context.update(id.as_str().as_bytes());
        context.update(b"\n");
    }
    let hash = context.finish();
    let first = hash.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{first:016x}")
}
