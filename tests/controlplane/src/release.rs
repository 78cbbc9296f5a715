//! The pinned releases: Kubernetes, with one folder `k8s/<minor>` of `go.mod` and `go.sum` each,
//! and one containerd.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The default minor, when `K8S` is not set.
const DEFAULT_MINOR: &str = "1.37";

/// The containerd minor of the node. It must support the CRI version of the newest pinned kubelet.
const CONTAINERD_MINOR: &str = "2.2";

/// What a [`Release`] is a release of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Kubernetes,
    Containerd,
}

impl Product {
    /// The Go module whose version is the release's.
    const fn module(self) -> &'static str {
        match self {
            Self::Kubernetes => "k8s.io/kubernetes",
            Self::Containerd => "github.com/containerd/containerd/v2",
        }
    }

    /// How long a build takes.
    pub(crate) const fn build_time(self) -> &'static str {
        match self {
            Self::Kubernetes => "about 5 minutes on 2 cores the first time, 1 minute with a warm Go cache",
            Self::Containerd => "about 1 minute on 2 cores the first time",
        }
    }

    /// containerd without the snapshotters that need C libraries or unused kernel features.
    pub(crate) const fn build_tags(self) -> &'static [&'static str] {
        match self {
            Self::Kubernetes => &[],
            Self::Containerd => &["-tags", "no_btrfs no_devmapper no_zfs"],
        }
    }
}

/// One pinned release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub(crate) product: Product,
    /// The folder with its `go.mod` and `go.sum`.
    pub(crate) module: PathBuf,
    /// `v1.37.2`
    pub(crate) version: String,
}

impl Release {
    /// The release in the environment variable `K8S` (`K8S=1.37`), else the default.
    pub fn chosen() -> Result<Self, Error> {
        match std::env::var("K8S") {
            Ok(minor) if !minor.is_empty() => Self::pinned(&minor),
            _ => Self::pinned(DEFAULT_MINOR),
        }
    }

    /// The pinned release of a minor such as `1.37`.
    pub fn pinned(minor: &str) -> Result<Self, Error> {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s");
        let pinned = minors(&all)?;
        if !pinned.iter().any(|known| known == minor) {
            return Err(Error::UnknownRelease { minor: minor.to_owned(), pinned: pinned.join(", ") });
        }
        Self::of(Product::Kubernetes, all.join(minor))
    }

    /// The containerd of the node.
    pub fn containerd() -> Result<Self, Error> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("containerd").join(CONTAINERD_MINOR);
        Self::of(Product::Containerd, module)
    }

    fn of(product: Product, module: PathBuf) -> Result<Self, Error> {
        let go_mod = module.join("go.mod");
        let text = std::fs::read_to_string(&go_mod).map_err(Error::file("cannot read", &go_mod))?;
        match required_version(&text, product.module()) {
            Some(version) => Ok(Self { product, module, version }),
            None => Err(Error::NoVersion { go_mod, module: product.module() }),
        }
    }

    /// In its own form: `v1.37.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The name of its folder in the cache.
    pub(crate) fn folder(&self) -> String {
        match self.product {
            Product::Kubernetes => self.version.clone(),
            Product::Containerd => format!("containerd-{}", self.version),
        }
    }

    /// Without symbols, and for Kubernetes with the version, which would otherwise read v0.0.0.
    pub(crate) fn linker_flags(&self) -> String {
        if self.product == Product::Containerd {
            return "-s -w".to_owned();
        }
        let (package, version) = ("k8s.io/component-base/version", &self.version);
        let (major, minor) = self.major_minor();
        format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
    }

    /// `("1", "37")`
    fn major_minor(&self) -> (&str, &str) {
        let mut parts = self.version.trim_start_matches('v').split('.');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.product {
            Product::Kubernetes => "Kubernetes",
            Product::Containerd => "containerd",
        };
        write!(f, "{name} {}", self.version)
    }
}

fn minors(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::file("cannot list", folder))?;
    let mut minors: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("go.mod").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    minors.sort();
    Ok(minors)
}

/// The version of `module` in a `go.mod`, with or without a leading `require` and a trailing `//
/// indirect`.
fn required_version(go_mod: &str, module: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        match (words.next(), words.next()) {
            (Some(found), Some(version)) if found == module && version.starts_with('v') => Some(version.to_owned()),
            _ => None,
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_both_forms_of_require() {
        assert_eq!(
            required_version("require k8s.io/kubernetes v1.33.4\n", "k8s.io/kubernetes").as_deref(),
            Some("v1.33.4")
        );
        let block =
            "tool (\n\tk8s.io/kubernetes/cmd/kubectl\n)\nrequire (\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n";
        assert_eq!(required_version(block, "k8s.io/kubernetes").as_deref(), Some("v1.37.2"));
        assert_eq!(required_version("require k8s.io/api v0.37.2\n", "k8s.io/kubernetes"), None);
    }

    #[test]
    fn the_default_minor_is_pinned() {
        let release = Release::pinned(DEFAULT_MINOR).unwrap();
        assert!(release.version().starts_with("v1.37."), "{}", release.version());
        assert_eq!(release.major_minor(), ("1", "37"));
    }

    #[test]
    fn every_supported_minor_is_pinned_with_all_parts_of_one_version() {
        for minor in ["1.33", "1.34", "1.35", "1.36", "1.37"] {
            let release = Release::pinned(minor).unwrap();
            let (of_minor, parts) = (format!("v{minor}."), release.version().replacen("v1.", "v0.", 1));
            assert!(release.version().starts_with(&of_minor), "{minor}: {release}");
            let go_mod = std::fs::read_to_string(release.module.join("go.mod")).unwrap();
            let replaced: Vec<&str> = go_mod.lines().filter(|line| line.contains(" => ")).collect();
            assert!(replaced.len() > 30, "{minor}: {replaced:?}");
            assert!(replaced.iter().all(|line| line.ends_with(&parts)), "{minor}: not all of {parts}: {replaced:?}");
        }
    }

    #[test]
    fn containerd_is_pinned_and_has_its_own_folder() {
        let release = Release::containerd().unwrap();
        assert_eq!(release.to_string(), format!("containerd {}", release.version()));
        assert!(release.folder().starts_with("containerd-v2.2."), "{}", release.folder());
    }

    #[test]
    fn an_unknown_minor_is_rejected_and_the_known_ones_are_named() {
        let message = Release::pinned("1.2").unwrap_err().to_string();
        assert!(message.contains("K8S=1.2") && message.contains("1.37"), "{message}");
    }

    #[test]
    fn a_minor_cannot_lead_out_of_the_folder() {
        assert!(matches!(Release::pinned("../k8s/1.37"), Err(Error::UnknownRelease { .. })));
    }
}
