//! The fault table: what was broken, what the operator did, and how long recovery took. `make
//! faults` assembles it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// Prints one row and appends it to the file that `FDI_FAULT_TABLE` names.
pub fn record(fault: &str, did: &str, took: Duration) {
    let row = format!("| {fault} | {did} | {:.1} |", took.as_secs_f64());
    println!("{row}");
    if let Some(path) = std::env::var_os("FDI_FAULT_TABLE") {
        let mut table = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(table, "{row}").unwrap();
    }
}
