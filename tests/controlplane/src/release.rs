//! The pinned Kubernetes releases: one folder `k8s/<minor>` with `go.mod` and `go.sum` each.

use std::path::{Path, PathBuf};

use crate::Error;

/// The minor that is used when `K8S` is not set.
const DEFAULT_MINOR: &str = "1.37";

/// One pinned Kubernetes release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Folder with the `go.mod` and `go.sum` it is built from.
    pub(crate) module: PathBuf,
    /// `v1.37.2`
    pub(crate) version: String,
}

impl Release {
    /// The release that the environment variable `K8S` names (`K8S=1.37`), else the default.
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
            return Err(Error::UnknownRelease { asked: minor.to_owned(), pinned: pinned.join(", ") });
        }
        let module = all.join(minor);
        let go_mod = module.join("go.mod");
        let text = std::fs::read_to_string(&go_mod).map_err(Error::file("cannot read", &go_mod))?;
        let version = required_version(&text).ok_or(Error::NoVersion(go_mod))?;
        Ok(Self { module, version })
    }

    /// As Kubernetes writes it: `v1.37.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `("1", "37")`
    pub(crate) fn major_minor(&self) -> (&str, &str) {
        let mut parts = self.version.trim_start_matches('v').split('.');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
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

/// The version of `k8s.io/kubernetes` in a `go.mod`, with or without `require` in front and `// indirect` behind.
fn required_version(go_mod: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        match (words.next(), words.next()) {
            (Some("k8s.io/kubernetes"), Some(version)) if version.starts_with('v') => Some(version.to_owned()),
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
        assert_eq!(required_version("require k8s.io/kubernetes v1.33.4\n").as_deref(), Some("v1.33.4"));
        let block =
            "tool (\n\tk8s.io/kubernetes/cmd/kubectl\n)\nrequire (\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n";
        assert_eq!(required_version(block).as_deref(), Some("v1.37.2"));
        assert_eq!(required_version("require k8s.io/api v0.37.2\n"), None);
    }

    #[test]
    fn the_default_minor_is_pinned() {
        let release = Release::pinned(DEFAULT_MINOR).unwrap();
        assert!(release.version().starts_with("v1.37."), "{}", release.version());
        assert_eq!(release.major_minor(), ("1", "37"));
    }

    #[test]
    fn an_unknown_minor_is_refused_with_the_known_ones() {
        let told = Release::pinned("1.2").unwrap_err().to_string();
        assert!(told.contains("K8S=1.2") && told.contains("1.37"), "{told}");
    }

    #[test]
    fn a_minor_cannot_lead_out_of_the_folder() {
        assert!(matches!(Release::pinned("../k8s/1.37"), Err(Error::UnknownRelease { .. })));
    }
}
