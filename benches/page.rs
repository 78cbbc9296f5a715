//! The tables of a page, which the benches write.

use std::path::Path;

/// Replaces what a page has between the markers of `name`.
pub fn write(path: &Path, name: &str, content: &str) {
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (before, rest) = page.split_once(&begin).expect("the marker at the beginning");
    let (_, after) = rest.split_once(&end).expect("the marker at the end");
    std::fs::write(path, format!("{before}{begin}\n{}\n{end}{after}", content.trim_end())).unwrap();
}
