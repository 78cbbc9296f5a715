//! The table: each figure beside the floor that was measured in the same run, and their ratio.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Seconds,
    Milliseconds,
    Count,
    Mebibytes,
    Bytes,
    Percent,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.3} s"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Count if value.fract() > 0.0 => format!("{value:.2}"),
            Self::Count => format!("{value:.0}"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Percent => format!("{value:.2} %"),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub what: String,
    pub unit: Unit,
    pub figure: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
}

impl Row {
    pub fn new(what: impl Into<String>, unit: Unit, figure: f64) -> Self {
        Self { what: what.into(), unit, figure, floor: None, ratio: None, goal: None }
    }

    pub fn seconds(what: impl Into<String>, took: Duration) -> Self {
        Self::new(what, Unit::Seconds, took.as_secs_f64())
    }

    pub fn floor_of(self, took: Duration) -> Self {
        self.floor(took.as_secs_f64())
    }

    pub fn floor(self, floor: f64) -> Self {
        let ratio = (floor > 0.0).then(|| self.figure / floor);
        Self { floor: Some(floor), ratio, ..self }
    }

    /// For figures and floors that may be negative.
    pub fn without_ratio(self) -> Self {
        Self { ratio: None, ..self }
    }

    pub fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn markdown(&self) -> String {
        let show = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| self.unit.show(value));
        let ratio = self.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let goal = self.goal.map_or_else(|| "–".to_owned(), |goal| format!("≤ {}", self.unit.show(goal)));
        format!("| {} | {} | {} | {ratio} | {goal} |", self.what, self.unit.show(self.figure), show(self.floor))
    }
}

/// The rows of a run, under the headings of what was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Table {
    sections: Vec<Section>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Section {
    title: String,
    rows: Vec<Row>,
}

impl Section {
    fn markdown(&self) -> String {
        let mut text =
            format!("### {}\n\n| What | Figure | Floor | Ratio | Goal |\n|---|---|---|---|---|\n", self.title);
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.markdown());
        }
        text
    }
}

impl Table {
    /// Adds rows, and prints them at once: a run takes minutes.
    pub fn add(&mut self, title: impl Into<String>, rows: Vec<Row>) {
        let section = Section { title: title.into(), rows };
        println!("{}", section.markdown());
        self.sections.push(section);
    }

    pub fn markdown(&self) -> String {
        self.sections.iter().map(Section::markdown).collect::<Vec<_>>().join("\n")
    }

    pub fn write_json(&self, path: &Path) {
        let json = serde_json::to_vec_pretty(self).unwrap();
        std::fs::write(path, json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The ratios of an earlier run beside those of this one. Times of two machines do not compare;
    /// their ratios to what the same machine took without the operator do.
    pub fn compared_with(&self, path: &Path) -> String {
        let earlier: Self = match std::fs::read(path).map(|json| serde_json::from_slice(&json)) {
            Ok(Ok(earlier)) => earlier,
            Ok(Err(error)) => return format!("The earlier figures cannot be read: {error}\n"),
            Err(_) => return "There are no earlier figures to compare with.\n".to_owned(),
        };
        let ratio_of = |title: &str, what: &str| {
            let section = earlier.sections.iter().find(|section| section.title == title)?;
            section.rows.iter().find(|row| row.what == what)?.ratio
        };
        let mut text = "| What | Ratio before | Ratio now | Change |\n|---|---|---|---|\n".to_owned();
        for section in &self.sections {
            for row in &section.rows {
                let Some(now) = row.ratio else { continue };
                let what = format!("{}: {}", section.title, row.what);
                let _ = match ratio_of(&section.title, &row.what) {
                    Some(before) => {
                        let change = (now / before - 1.0) * 100.0;
                        writeln!(text, "| {what} | {before:.2} | {now:.2} | {change:+.0} % |")
                    }
                    None => writeln!(text, "| {what} | – | {now:.2} | – |"),
                };
            }
        }
        text
    }
}
