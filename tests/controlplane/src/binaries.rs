//! Where the programs are: in the folder of `KUBEBUILDER_ASSETS`, else in the project's cache
//! folder, into which they are built if necessary.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::release::Product;
use crate::{Error, Release, build};

/// A program of Kubernetes, or one that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Etcd,
    KubeApiserver,
    Kubectl,
    KubeControllerManager,
    KubeScheduler,
    Kubelet,
    Containerd,
    ContainerdShim,
    Ctr,
    /// The only program in the image that holds a pod's namespaces. Part of this crate.
    Pause,
}

impl Program {
    /// What [`ControlPlane`](crate::ControlPlane) needs.
    pub const CONTROL_PLANE: [Self; 3] = [Self::Etcd, Self::KubeApiserver, Self::Kubectl];

    /// What [`Node`](crate::Node) needs of Kubernetes.
    pub const NODE: [Self; 6] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
    ];

    /// What it needs besides Kubernetes to run containers.
    pub const RUNTIME: [Self; 4] = [Self::Containerd, Self::ContainerdShim, Self::Ctr, Self::Pause];

    /// The name of its file, in `KUBEBUILDER_ASSETS` as in the cache folder.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::Kubectl => "kubectl",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            // containerd finds it by this name.
            Self::ContainerdShim => "containerd-shim-runc-v2",
            Self::Ctr => "ctr",
            Self::Pause => "pause",
        }
    }

    /// The Go package it is built from.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::Containerd => "github.com/containerd/containerd/v2/cmd/containerd",
            Self::ContainerdShim => "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            Self::Ctr => "github.com/containerd/containerd/v2/cmd/ctr",
            Self::Pause => "./pause",
        }
    }
}

/// A folder that holds the requested programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The folder of the programs; `None` if they have to be built first.
    ///
    /// # Errors
    /// `KUBEBUILDER_ASSETS` is set and a program is not in it. No fallback: who sets the variable
    /// means it.
    pub fn find(release: &Release, programs: &[Program]) -> Result<Option<Self>, Error> {
        let locations = Locations::of_environment();
        // Such a folder has the programs of Kubernetes, but no container runtime.
        if let (Some(assets), true) = (&locations.assets, release.product == Product::Kubernetes) {
            let assets = assets.clone();
            return Self::in_assets(assets, programs).map(Some);
        }
        let folder = locations.cache(release)?;
        Ok(missing(&folder, programs).is_empty().then_some(Self { folder }))
    }

    /// The programs, which it first builds with Go into the cache folder if necessary. That takes
    /// minutes; stderr shows the progress.
    pub async fn find_or_build(release: &Release, programs: &[Program]) -> Result<Self, Error> {
        if let Some(found) = Self::find(release, programs)? {
            return Ok(found);
        }
        let folder = Locations::of_environment().cache(release)?;
        build::into(&folder, release, programs).await?;
        Ok(Self { folder })
    }

    /// Their folder, usable in `PATH` and as `KUBEBUILDER_ASSETS`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, program: Program) -> PathBuf {
        self.folder.join(program.file())
    }

    fn in_assets(folder: PathBuf, programs: &[Program]) -> Result<Self, Error> {
        match missing(&folder, programs).first() {
            Some(program) => Err(Error::MissingAsset { folder, file: program.file() }),
            None => Ok(Self { folder }),
        }
    }
}

/// The programs of `programs` that are not in `folder` as executable files.
pub(crate) fn missing(folder: &Path, programs: &[Program]) -> Vec<Program> {
    programs.iter().copied().filter(|program| !is_executable(&folder.join(program.file()))).collect()
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The folders that the environment names.
struct Locations {
    assets: Option<PathBuf>,
    cache_home: Option<PathBuf>,
}

impl Locations {
    fn of_environment() -> Self {
        // Absolute, because Go runs in another working folder.
        let set = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            std::path::absolute(value).ok()
        };
        Self {
            assets: set("KUBEBUILDER_ASSETS"),
            cache_home: set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))),
        }
    }

    /// One folder for each version, so that several can coexist.
    fn cache(self, release: &Release) -> Result<PathBuf, Error> {
        let home = self.cache_home.ok_or(Error::NoCacheFolder)?;
        Ok(home.join("fdi-operator/controlplane").join(release.folder()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_executed_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        for (program, mode) in [(Program::Etcd, 0o755), (Program::Kubectl, 0o644)] {
            let path = folder.path().join(program.file());
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(missing(folder.path(), &Program::CONTROL_PLANE), [Program::KubeApiserver, Program::Kubectl]);
    }

    #[test]
    fn an_incomplete_assets_folder_is_an_error_that_names_the_file() {
        let message = Binaries::in_assets("/nowhere".into(), &Program::CONTROL_PLANE).unwrap_err().to_string();
        assert!(message.contains("KUBEBUILDER_ASSETS is /nowhere") && message.contains("executable etcd"), "{message}");
    }
}
