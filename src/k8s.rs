//! Everything that talks to the Kubernetes API server.

pub mod clients;
pub mod crd_check;
pub mod error;
pub mod events;
pub mod leader_election;
mod quota;
pub mod reflector;
pub mod status_writer;
pub mod store;
pub mod watcher;
