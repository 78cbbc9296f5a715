//! The fault table: what was broken, what the operator did, how long until all was right again. `make faults` puts it together.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// One row, appended to the file that `FDI_FAULT_TABLE` names, and printed.
pub fn row(fault: &str, did: &str, took: Duration) {
    let row = format!("| {fault} | {did} | {:.1} |", took.as_secs_f64());
    println!("{row}");
    if let Some(path) = std::env::var_os("FDI_FAULT_TABLE") {
        let mut table = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(table, "{row}").unwrap();
    }
}
