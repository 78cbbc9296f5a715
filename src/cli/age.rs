//! Spans of time as kubectl shows them.

use jiff::{SignedDuration, Timestamp};

/// A span of time as kubectl shows it: its two largest units at most.
pub fn age(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => match seconds % 60 {
            0 => format!("{minutes}m"),
            rest => format!("{minutes}m{rest}s"),
        },
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => match minutes % 60 {
            0 => format!("{hours}h"),
            rest => format!("{hours}h{rest}m"),
        },
        28_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// How long ago a moment was.
pub fn since(moment: Timestamp, now: Timestamp) -> String {
    age(now.duration_since(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        let shown = |seconds| age(SignedDuration::from_secs(seconds));
        assert_eq!([0, 119, 120, 185, 3000].map(shown), ["0s", "119s", "2m", "3m5s", "50m"]);
        assert_eq!([11_000, 10_800, 90_000, 200_000, -5].map(shown), ["3h3m", "3h", "25h", "2d", "0s"]);
    }
}
