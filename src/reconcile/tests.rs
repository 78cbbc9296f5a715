//! The engine over time, against a model of the service with a clock of its own.

mod bounds;
mod condition_table;
mod conditions_page;
mod convergence;
mod deletion;
mod exhaustive;
mod freshness;
mod history;
mod named_tasks;
mod properties;
mod regressions;
mod restarts;
mod retries;
mod runs;
mod selection;
mod service;
mod simulation;
