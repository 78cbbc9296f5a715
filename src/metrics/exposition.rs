//! Converts `OpenMetrics` to the older text format, which has `_total` in the name of a counter
//! everywhere and no info type.

/// Content type of `OpenMetrics`.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn plain(openmetrics: &str) -> String {
    let mut plain = String::with_capacity(openmetrics.len());
    // In `OpenMetrics` the HELP of a family precedes its TYPE, and only the TYPE says how its
    // samples are named.
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                plain.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            plain.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            plain.extend([line, "\n"]);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_infos_are_named_as_in_the_older_format() {
        let openmetrics = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"# HELP y\"} 1\n# HELP i Build.\n# TYPE i info\n\
             i_info{v=\"1\"} 1\n# HELP w_seconds Age.\n# TYPE w_seconds gauge\n# UNIT w_seconds seconds\nw_seconds 0.5\n# EOF\n";
        assert_eq!(
            plain(openmetrics),
            "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"# HELP y\"} 1\n# HELP i_info Build.\n\
             # TYPE i_info gauge\ni_info{v=\"1\"} 1\n# HELP w_seconds Age.\n# TYPE w_seconds gauge\nw_seconds 0.5\n"
        );
    }
}
