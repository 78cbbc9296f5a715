//! Instructions of the pure steps, counted by valgrind. Counts are the same in every run and on a
//! busy machine. `make bench-instructions`; where there is no valgrind it says so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod page;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use fdi_operator::testing::{Chosen, PureSteps};

const TASKS_EACH: usize = 10;
/// Those of the table that compares the ways to choose tasks.
const GROUPS_CHOOSING: usize = 200;
const TASKS_CHOSEN_EACH: usize = 5;
const SIZES: [usize; 3] = [1, 100, 1000];
/// Repetitions of a step; the difference to a run with one repetition less so many is its cost.
const REPETITIONS: u64 = 4;

#[derive(Parser)]
struct Cli {
    /// Replace the table of this page.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Be the program that is measured: do this step.
    #[arg(long, hide = true)]
    step: Option<Step>,
    #[arg(long, hide = true, default_value_t = 1)]
    groups: usize,
    #[arg(long, hide = true, default_value_t = TASKS_EACH)]
    tasks: usize,
    #[arg(long, hide = true, value_enum, default_value_t)]
    chosen: By,
    #[arg(long, hide = true, default_value_t = 0)]
    repeat: u64,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How groups choose their tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum By {
    #[default]
    Ids,
    Names,
    Selector,
}

impl From<By> for Chosen {
    fn from(by: By) -> Self {
        match by {
            By::Ids => Self::ById,
            By::Names => Self::ByName,
            By::Selector => Self::BySelector,
        }
    }
}

/// What is measured: so many groups with so many tasks each.
#[derive(Debug, Clone, Copy)]
struct Instance {
    groups: usize,
    tasks: usize,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    ReadList,
    ReadSameList,
    Resolve,
    Plan,
    Status,
    AfterList,
    WithoutList,
    Poll,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::ReadList => "reading the pages of a list",
            Self::ReadSameList => "the same, if no page has changed",
            Self::Resolve => "`resolve`",
            Self::Plan => "`plan`",
            Self::Status => "`status`",
            Self::AfterList => "all, after a list",
            Self::WithoutList => "all, while the last list still serves",
            Self::Poll => "a poll that finds everything as it was",
        }
    }

    fn run(self, steps: &mut PureSteps) {
        match self {
            Self::ReadList => steps.read_list(),
            Self::ReadSameList => steps.read_same_list(),
            Self::Resolve => steps.resolve(),
            Self::Plan => steps.plan(),
            Self::Status => steps.status(),
            Self::AfterList => steps.reconcile_after_list(),
            Self::WithoutList => steps.reconcile_without_list(),
            Self::Poll => steps.poll(),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(step) = cli.step {
        let mut steps = PureSteps::settled(cli.groups, cli.tasks, cli.chosen.into());
        for _ in 0..cli.repeat {
            step.run(&mut steps);
        }
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("NOT RUN: the instructions are counted by valgrind, which is not installed");
        return ExitCode::SUCCESS;
    }
    let tables = format!("{}\n{}", by_size(), by_choice());
    println!("{tables}");
    if let Some(path) = &cli.page {
        page::write(path, "make bench-instructions", &tables);
    }
    ExitCode::SUCCESS
}

/// Groups that list IDs.
fn by_size() -> String {
    let mut text = "| Step |".to_owned();
    for groups in SIZES {
        let _ = write!(text, " {} {} |", thousands(groups as u64), if groups == 1 { "group" } else { "groups" });
    }
    text.push_str(" for each further group |\n|---|---|---|---|---|\n");
    for step in Step::value_variants() {
        let counts = SIZES.map(|groups| cost(*step, Instance { groups, tasks: TASKS_EACH, by: By::Ids }));
        let each = (counts[2] - counts[0]) / (SIZES[2] - SIZES[0]) as u64;
        let counts: Vec<String> = counts.iter().chain([&each]).map(|count| thousands(*count)).collect();
        let _ = writeln!(text, "| {} | {} |", step.name(), counts.join(" | "));
    }
    text
}

/// The same groups with each way to choose their tasks.
fn by_choice() -> String {
    let mut text = format!(
        "| Step, {GROUPS_CHOOSING} groups of {TASKS_CHOSEN_EACH} tasks | by ID | by name | by selector |\n\
         |---|---|---|---|\n"
    );
    for step in Step::value_variants() {
        let cost = |by| thousands(cost(*step, Instance { groups: GROUPS_CHOOSING, tasks: TASKS_CHOSEN_EACH, by }));
        let costs = [By::Ids, By::Names, By::Selector].map(cost);
        let _ = writeln!(text, "| {} | {} |", step.name(), costs.join(" | "));
    }
    text
}

/// Instructions of a step.
fn cost(step: Step, instance: Instance) -> u64 {
    (count(step, instance, REPETITIONS) - count(step, instance, 0)) / REPETITIONS
}

/// Instructions of a whole process that repeats a step so often.
fn count(step: Step, Instance { groups, tasks, by }: Instance, repeat: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--step", step.to_possible_value().unwrap().get_name()])
        .args(["--groups", &groups.to_string(), "--tasks", &tasks.to_string()])
        .args(["--chosen", by.to_possible_value().unwrap().get_name(), "--repeat", &repeat.to_string()])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let Some((_, collected)) = collected.filter(|_| output.status.success()) else { panic!("{report}") };
    collected.trim().parse().unwrap()
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap()).collect();
    groups.join(",")
}
