//! A real Kubernetes control plane for tests and the demo, without Docker: etcd and kube-apiserver
//! on loopback ports, with their own CA and administrator, and the kubectl of the same version.
//!
//! ```no_run
//! # async fn example() -> Result<(), controlplane::Error> {
//! let plane = controlplane::ControlPlane::start().await?;
//! let created = plane.kubectl().run(["create", "namespace", "orders"]).await?;
//! assert!(created.status.success(), "{}", created.stderr);
//! plane.stop().await
//! # }
//! ```
//!
//! | File | Contents |
//! |---|---|
//! | `release` | the pinned Kubernetes releases, `k8s/<minor>/go.mod` each; `K8S` selects one |
//! | `binaries` | where the programs are: `KUBEBUILDER_ASSETS`, the cache folder, or built into it by `build` |
//! | `server` | one server process that ends with its holder, however the holder ends |
//! | `node` | a real node that runs pods, in namespaces that `enclosure` creates and removes |
//! | `backup` | the data of etcd, copied and restored, as an administrator restores a cluster |
//! | `plane` | the control plane: start, readiness, faults, stop |
//! | `command_lines` | the command lines of etcd and kube-apiserver, and the files that they name |
//! | `certificates`, `kubeconfig`, `ports`, `kubectl`, `error` | what their names say |
//!
//! A control plane without kube-controller-manager does not delete namespaces, collect garbage or
//! create default `ServiceAccount`s. So give each test a new namespace and do not delete it.

#![forbid(unsafe_code)]

mod backup;
mod binaries;
mod build;
mod certificates;
mod command_lines;
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
