//! The namespaces of a node, which take everything in them along when they end.
//!
//! A node starts processes that outlive their parents, mounts, network devices and control groups.
//! It runs in its own PID, mount and network namespaces. When the first process in them dies, the
//! kernel removes everything but the control groups, and that process dies with its holder, however
//! the holder ends. The janitor removes the control groups and the folder: it is a small shell that
//! waits on a pipe which only the holder has open.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Binaries, Error, Program, Release};

/// `$1` folder, `$2` control group. On cgroup v1 every controller has its own tree, on v2 there is
/// one.
const JANITOR: &str = r#"
folder=$1 group=$2
groups() { find "/sys/fs/cgroup/$group" /sys/fs/cgroup/*/"$group" -depth -type d 2>/dev/null; }
cat
tries=300
while [ $tries -gt 0 ] && [ -n "$(groups)" ]; do
    groups | while read -r one; do rmdir "$one" 2>/dev/null; done
    tries=$((tries - 1))
    [ -z "$(groups)" ] || sleep 0.1
done
rm -rf -- "$folder"
"#;

/// The first process in the namespaces; it reaps orphans. `$1` folder, `$2` address, then the
/// command line.
///
/// `/run` is empty and `/var` is copy-on-write, because kubelet, containerd and the network plugins
/// have fixed paths there.
const FIRST: &str = r#"
set -e
folder=$1 address=$2; shift 2
ip link set lo up
ip address add "$address/32" dev lo
mount -t tmpfs tmpfs /run
mkdir "$folder/var" "$folder/var.work" "$folder/tmp"
mount -t overlay -o "lowerdir=/var,upperdir=$folder/var,workdir=$folder/var.work" overlay /var
exec 3<&0
"$@" <&3 3<&- &
wait $!
"#;

/// The programs that come with the system and not from Go, and how to install them.
const TOOLS: [&str; 5] = ["runc", "ip", "unshare", "setpriv", "/usr/lib/cni/bridge"];
const INSTALL: &str = "on Debian, tests/e2e/prepare installs what is missing";

/// The namespaces and the folder of one node. Dropping it removes them in the background;
/// [`remove`](Self::remove) returns once they are gone.
#[derive(Debug)]
pub struct Enclosure {
    inside: Inside,
    janitor: Child,
}

/// What a node needs to start in its enclosure.
#[derive(Debug, Clone)]
pub struct Inside {
    pub(crate) folder: PathBuf,
    pub(crate) kubernetes: Binaries,
    pub(crate) runtime: Binaries,
}

impl Inside {
    /// Finds the programs, which [`Enclosure::make`] has built, for the enclosure of this folder.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let found = |release: Release, programs: &[Program]| match Binaries::find(&release, programs)? {
            Some(binaries) => Ok(binaries),
            None => Err(Error::NodeCannotRun {
                missing: format!("the programs of {release}"),
                remedy: "run `controlplane node`, which builds them",
            }),
        };
        Ok(Self {
            folder: folder.to_owned(),
            kubernetes: found(Release::chosen()?, &Program::NODE)?,
            runtime: found(Release::containerd()?, &Program::RUNTIME)?,
        })
    }

    /// The name of the control group that contains those of the pods.
    pub(crate) fn control_group(&self) -> &OsStr {
        self.folder.file_name().unwrap_or_default()
    }

    /// The value of `PATH`, with the programs first.
    fn path(&self) -> Result<std::ffi::OsString, Error> {
        let own = [self.kubernetes.folder().to_owned(), self.runtime.folder().to_owned()];
        let system = std::env::var_os("PATH").unwrap_or_default();
        let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let all: Vec<PathBuf> = own.into_iter().chain(std::env::split_paths(&system)).chain(sbin).collect();
        std::env::join_paths(all).map_err(|_| Error::NodeCannotRun {
            missing: "a cache folder without a colon in its name".to_owned(),
            remedy: "set XDG_CACHE_HOME",
        })
    }
}

impl Enclosure {
    /// Checks that this machine can run a node; the error names what is missing.
    pub fn check() -> Result<(), Error> {
        let missing = |missing: &str, remedy| Err(Error::NodeCannotRun { missing: missing.to_owned(), remedy });
        if !std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            return missing("root on Linux", "a kubelet mounts, and makes control groups and network devices");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
        if let Some(tool) = TOOLS.iter().find(|tool| !folders.iter().any(|folder| folder.join(tool).exists())) {
            return missing(tool, INSTALL);
        }
        let temporary = std::env::temp_dir();
        if ["/var", "/run"].iter().any(|hidden| temporary.starts_with(hidden)) {
            return missing("a folder for temporary files outside of /var and /run", "set TMPDIR");
        }
        Ok(())
    }

    /// Makes one, after building the programs if necessary.
    pub async fn make() -> Result<Self, Error> {
        Self::check()?;
        let kubernetes = Binaries::find_or_build(&Release::chosen()?, &Program::NODE).await?;
        let runtime = Binaries::find_or_build(&Release::containerd()?, &Program::RUNTIME).await?;
        let folder = tempfile::Builder::new()
            .prefix("fdi-node-")
            .tempdir()
            .map_err(Error::file("cannot create a folder under", &std::env::temp_dir()))?
            .keep();
        let inside = Inside { folder, kubernetes, runtime };
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&inside.folder)
            .arg(inside.control_group())
            // Ctrl-C on a terminal must not reach the janitor.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| Error::Start { program: "/bin/sh".to_owned(), source })?;
        Ok(Self { inside, janitor })
    }

    pub fn folder(&self) -> &Path {
        &self.inside.folder
    }

    /// A command that runs `program` in the namespaces. When it ends, or this process ends, every
    /// process in them ends. Spawn it from a thread that lives as long, because the kernel takes
    /// the end of that thread for the end of the process.
    pub fn command(&self, program: &Path) -> Result<Command, Error> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["/bin/sh", "-c", FIRST, "first"])
            .arg(&self.inside.folder)
            .arg(crate::command_lines::SERVICE_ADDRESS)
            .arg(program)
            .env("PATH", self.inside.path()?)
            // What the node creates there must go with the folder.
            .env("TMPDIR", self.inside.folder.join("tmp"));
        Ok(command)
    }

    /// Removes what the kernel does not remove, after the end of the command.
    pub async fn remove(mut self) -> Result<(), Error> {
        let folder = self.inside.folder.clone();
        let waited = tokio::task::spawn_blocking(move || {
            drop(self.janitor.stdin.take());
            self.janitor.wait()
        });
        let ended = waited.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(Error::Command { command: format!("rm -rf {}", folder.display()), output: status.to_string() })
            }
            Err(source) => Err(Error::Start { program: "the janitor".to_owned(), source }),
        }
    }
}
