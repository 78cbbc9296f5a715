//! `fdi-operator docs`: the pages of `docs/` that are generated, for `make docs`. Hidden: only this
//! repository needs it.

mod flags;
mod reference;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};

#[derive(Debug, Args)]
pub struct DocsFlags {
    #[arg(value_enum)]
    page: Page,

    /// Where the man pages are written, one for each command.
    #[arg(long, value_name = "FOLDER", required_if_eq("page", "man"))]
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    /// docs/flags.md
    Flags,
    /// docs/reference.md
    Reference,
    /// Man pages, fdi-operator.1 and others
    Man,
}

/// Prints a page; `program` is the command line that it documents.
pub fn run(flags: &DocsFlags, program: &Command) -> ExitCode {
    let page = match flags.page {
        Page::Flags => flags::page(program),
        Page::Reference => reference::page(),
        Page::Man => return man_pages(program, flags.folder.as_deref().unwrap_or(Path::new("."))),
    };
    match io::stdout().write_all(page.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot print the page: {error}");
            ExitCode::FAILURE
        }
    }
}

fn man_pages(program: &Command, folder: &Path) -> ExitCode {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program.clone(), folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write the man pages to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// Text as one cell of a table: on one line, and nothing in it that Markdown reads as its own.
/// Code spans stay as they are.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let parts = line.split('`').enumerate().map(|(index, part)| match index % 2 {
        0 => part.replace('<', "&lt;").replace('*', "\\*"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_that_shows_what_the_text_says() {
        assert_eq!(cell("one\n  two | `a*b` * <x>"), "one two \\| `a*b` \\* &lt;x>");
    }
}
