//! Scale and cost of the real binary on a real kube-apiserver: each figure beside its floor, which
//! the same run measures without the operator. `make scale`; docs/performance.md explains the rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod edit;
mod page;
mod support;

mod scale {
    pub mod floors;
    pub mod latency;
    pub mod live;
    pub mod memory;
    pub mod objects;
    pub mod rate;
    pub mod selectors;
    pub mod slow_writes;
    pub mod start;
    pub mod table;
}

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use scale::start::Goals;
use scale::table::{Row, Table, Unit};
use scale::{latency, live, memory, rate, selectors, start};
use tokio::runtime::Builder;

/// That of the operator, so that memory compares.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
struct Cli {
    /// 30,000 groups on 300 instances as well.
    #[arg(long)]
    large: bool,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only these numbers of groups at the start.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Seconds of idle time to measure. Many instances were first listed together, so one poll
    /// interval of 60 may have many more or fewer lists than the next one.
    #[arg(long, default_value_t = 120)]
    idle: u64,
    /// Edits whose latency to the service is measured.
    #[arg(long, default_value_t = 200)]
    edits: usize,
    /// Write the figures to this file, to compare a later run with.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Compare the ratios with those of such a file, and print a table of both.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Write that table to this file.
    #[arg(long, requires = "compare")]
    comparison: Option<PathBuf>,
    /// Replace the tables of this page.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Be the process that keeps the objects of this cluster.
    #[arg(long, hide = true)]
    retain: Option<PathBuf>,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Live,
    Rate,
    Selectors,
    /// 100, 1,000, 10,000 and with `--large` 30,000 groups.
    Start,
}

fn main() {
    let cli = Cli::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(kubeconfig) = &cli.retain {
        return Builder::new_current_thread().enable_all().build().unwrap().block_on(memory::retain(kubeconfig));
    }
    let table = Builder::new_multi_thread().enable_all().build().unwrap().block_on(measure(&cli));
    if let Some(path) = &cli.json {
        table.write_json(path);
    }
    if let Some(path) = &cli.page {
        page::write(path, "make scale", &table.markdown());
    }
    if let Some(path) = &cli.compare {
        let comparison = table.compared_with(path);
        println!("{comparison}");
        if let Some(path) = &cli.comparison {
            std::fs::write(path, comparison).unwrap();
        }
    }
}

async fn measure(cli: &Cli) -> Table {
    let mut table = Table::default();
    let wanted = |part| cli.only.is_empty() || cli.only.contains(&part);
    if wanted(Part::Live) {
        table.add("100 groups of one instance", live::hundred().await);
        table.add("300 groups of one instance", live::three_hundred().await);
    }
    if wanted(Part::Rate) {
        table.add("1,000 tasks of one instance, 10 requests a second, 50 ms each", rate::at_the_limit().await);
    }
    if wanted(Part::Selectors) {
        table.add("200 groups of one instance, by selector", selectors::beside_ids().await);
    }
    if wanted(Part::Start) {
        starts(cli, &mut table).await;
    }
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_fdi-operator")).unwrap().len() as f64 / 1024.0 / 1024.0;
    table.add("The binary", vec![Row::new("size", Unit::Mebibytes, binary)]);
    table
}

async fn starts(cli: &Cli, table: &mut Table) {
    let thousand = Goals { ready: Some(2.5), peak: Some(20.0), ..Goals::default() };
    let ten_thousand = Goals {
        first_call: Some(3.5),
        last_call: Some(4.0),
        ready_ratio: Some(1.15),
        peak: Some(64.0),
        idle: Some(56.0),
        cpu: Some(0.5),
        ..Goals::default()
    };
    let mut sizes = vec![
        ("100 groups on 100 instances", 100, 100, Goals::default()),
        ("1,000 groups on 100 instances", 1000, 100, thousand),
        ("10,000 groups on 100 instances", 10_000, 100, ten_thousand),
    ];
    if cli.large {
        sizes.push(("30,000 groups on 300 instances", 30_000, 300, Goals::default()));
    }
    sizes.retain(|(_, groups, ..)| cli.sizes.is_empty() || cli.sizes.contains(groups));
    let mut samples = Vec::new();
    for (title, groups, instances, goals) in sizes {
        let mut started = start::first_start(start::objects(groups, instances)).await;
        let (idle_rows, idle) = started.idle(cli.idle, goals).await;
        let edited = match groups {
            1000 => Some(latency::edits(&started.env, &started.objects, cli.edits).await),
            _ => None,
        };
        started.operator.kill().await.unwrap();
        let mut edit_rows = Vec::new();
        if let Some(edited) = edited {
            edit_rows = latency::rows(&started.env, &started.objects, edited).await;
            edit_rows.extend(latency::with_slow_writes(&started.env, &started.objects, cli.edits).await);
        }
        let (mut rows, sample) = started.rows(idle, goals).await;
        rows.extend(idle_rows);
        rows.extend(edit_rows);
        table.add(title, rows);
        samples.push(sample);
        started.env.plane.stop().await.unwrap();
    }
    table.add("Growth of the idle memory", memory::growth(&samples));
}
