//! A real Kubernetes control plane for tests and the demo, without Docker: etcd and kube-apiserver on loopback ports, with a CA and an
//! administrator of their own, and the kubectl that fits them.
//!
//! ```no_run
//! # async fn example() -> Result<(), controlplane::Error> {
//! let plane = controlplane::ControlPlane::start().await?;
//! let made = plane.kubectl().run(["create", "namespace", "orders"]).await?;
//! assert!(made.status.success(), "{}", made.stderr);
//! plane.stop().await
//! # }
//! ```
//!
//! | File | What it holds |
//! |---|---|
//! | `release` | the pinned Kubernetes releases, `k8s/<minor>/go.mod` each; `K8S` chooses |
//! | `binaries` | where the programs are: `KUBEBUILDER_ASSETS`, the cache folder, or built into it by `build` |
//! | `server` | one server process that ends with its holder, however the holder ends |
//! | `node` | a real node beside it that runs pods, in namespaces of its own that `enclosure` makes and removes |
//! | `backup` | the data of etcd, set aside and put back, as an administrator restores a cluster |
//! | `plane` | the control plane: start, readiness, faults, stop |
//! | `certificates`, `kubeconfig`, `ports`, `kubectl`, `error` | as they say |
//!
//! What a control plane without kube-controller-manager does not do: delete namespaces, collect garbage, create default
//! `ServiceAccount`s. So give each test a fresh namespace and leave it.

#![forbid(unsafe_code)]

mod backup;
mod binaries;
mod build;
mod certificates;
mod enclosure;
mod error;
mod kubeconfig;
mod kubectl;
mod node;
mod plane;
mod ports;
mod release;
mod server;

pub use binaries::{Binaries, Program};
pub use enclosure::{Enclosure, Inside};
pub use error::Error;
pub use kubectl::{Kubectl, Output};
pub use node::Node;
pub use plane::ControlPlane;
pub use release::Release;
