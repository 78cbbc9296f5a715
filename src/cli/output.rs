//! What commands print: tables for people, JSON and YAML for programs, names for shells.

use std::fmt::Display;
use std::io::Write as _;

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::error::CommandError;

/// The format of what is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
    Name,
}

#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputFlags {
    /// Format of the output. name prints one name or ID a line.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
}

/// One line on standard output. A closed pipe is no failure: whoever reads has seen enough.
pub fn print(line: impl Display) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// One line on standard error, for what is no result.
pub fn note(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Rows under a header, aligned as kubectl does it.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

/// Prints a value for programs; `None` where the format is for people.
pub fn structured(format: Format, value: &impl Serialize) -> Result<Option<String>, CommandError> {
    let failed = |error: &dyn Display| CommandError::Usage(format!("cannot print this format: {error}"));
    match format {
        Format::Json => serde_json::to_string_pretty(value).map(Some).map_err(|error| failed(&error)),
        Format::Yaml => {
            serde_saphyr::to_string(value).map(|text| Some(text.trim_end().to_owned())).map_err(|error| failed(&error))
        }
        Format::Table | Format::Name => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_also_with_wide_characters_and_lines_end_without_blanks() {
        let rows = [["订单".to_owned(), "Running".to_owned()], ["a-long-name".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "STATE"], rows), "NAME          STATE\n订单          Running\na-long-name");
    }

    #[test]
    fn each_format_but_those_for_people_is_a_document() {
        let value = serde_json::json!({"a": [1]});
        assert_eq!(structured(Format::Json, &value).unwrap().unwrap(), "{\n  \"a\": [\n    1\n  ]\n}");
        assert!(structured(Format::Yaml, &value).unwrap().unwrap().starts_with("a:"));
        assert!(structured(Format::Table, &value).unwrap().is_none());
    }
}
