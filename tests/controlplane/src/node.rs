//! A real node: containerd, kubelet, scheduler and controller manager with a control plane, in an
//! [`Enclosure`](crate::Enclosure).
//!
//! It has no kube-proxy and no DNS (the API server itself has the address of the Service
//! `kubernetes`, and pods reach each other by address), no registry (images come from archives),
//! and no storage.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::command_lines::{CA, SERVICE_ADDRESS, TOKEN_KEY, flag};
use crate::server::{Server, Start};
use crate::{ControlPlane, Error, Inside, Kubectl, Program};

/// A start takes 10 s on an idle machine with 2 cores.
const READY_WITHIN: Duration = Duration::from_mins(3);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// containerd's default socket, which `ctr` and kubelet use without configuration; `/run` is the
/// enclosure's own.
const SOCKET: &str = "/run/containerd/containerd.sock";
const PAUSE_IMAGE: &str = "fdi-operator.test/pause:1";
const NAME: &str = "node";

/// A running node and its control plane. They end with the enclosure.
#[derive(Debug)]
pub struct Node {
    plane: ControlPlane,
    inside: Inside,
    _servers: Vec<Server>,
}

impl Node {
    /// Starts one. When this returns it is ready and has the images of these archives (OCI or
    /// Docker).
    pub async fn start(inside: Inside, images: &[PathBuf]) -> Result<Self, Error> {
        let folder = inside.folder.clone();
        write_files(&inside)?;
        let containerd = start(&inside, Program::Containerd, vec![flag("--config", folder.join(CONTAINERD))])?;
        let (plane, imported) =
            tokio::join!(ControlPlane::start_for_pods(&inside.kubernetes), import(&inside, &containerd, images));
        let (plane, ()) = (plane?, imported?);

        let kubeconfig = plane.kubeconfig_path();
        let servers = vec![
            start(&inside, Program::Kubelet, kubelet_args(&folder, &kubeconfig))?,
            start(&inside, Program::KubeScheduler, scheduler_args(&kubeconfig))?,
            start(&inside, Program::KubeControllerManager, controller_manager_args(plane.folder(), &kubeconfig))?,
            containerd,
        ];
        wait_ready(&plane.kubectl(), &servers).await?;
        Ok(Self { plane, inside, _servers: servers })
    }

    /// The control plane, with its kubeconfig and kubectl.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The folder with the logs of its servers.
    pub fn folder(&self) -> &Path {
        &self.inside.folder
    }
}

fn start(inside: &Inside, program: Program, args: Vec<OsString>) -> Result<Server, Error> {
    let binaries = if Program::RUNTIME.contains(&program) { &inside.runtime } else { &inside.kubernetes };
    Server::start(Start {
        program: program.file(),
        path: &binaries.path(program),
        args,
        log: inside.folder.join(program.file()).with_extension("log"),
        remove: None,
    })
}

async fn import(inside: &Inside, containerd: &Server, images: &[PathBuf]) -> Result<(), Error> {
    let pause = inside.folder.join("pause.tar");
    run(inside, Program::Pause, &["--archive".as_ref(), pause.as_os_str(), PAUSE_IMAGE.as_ref()]).await?;
    let started = Instant::now();
    while let Err(error) = run(inside, Program::Ctr, &["version".as_ref()]).await {
        if containerd.has_ended() || started.elapsed() > READY_WITHIN {
            let (waited, answer) = (started.elapsed(), error.to_string());
            return Err(Error::NodeNotReady { waited, answer, logs: containerd.log_tail() });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    for archive in [&pause].into_iter().chain(images) {
        let args = ["--namespace", "k8s.io", "images", "import", "--local"].map(str::as_ref);
        run(inside, Program::Ctr, &[&args[..], &[archive.as_os_str()]].concat()).await?;
    }
    Ok(())
}

async fn run(inside: &Inside, program: Program, args: &[&std::ffi::OsStr]) -> Result<(), Error> {
    let path = inside.runtime.path(program);
    let ended = Command::new(&path).args(args).kill_on_drop(true).output().await;
    let output = ended.map_err(|source| Error::Start { program: program.file().to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { command: format!("{} {}", program.file(), args.join(" ")), output: stderr })
}

/// Returns when the node reports Ready and accepts pods, a server has ended, or the time is up.
async fn wait_ready(kubectl: &Kubectl, servers: &[Server]) -> Result<(), Error> {
    const READY: [&str; 4] =
        ["get", "node", NAME, r#"-o=jsonpath={.status.conditions[?(@.type=="Ready")].status} {.spec.taints[*].key}"#];
    const ACCOUNT: [&str; 4] = ["get", "serviceaccount", "default", "--namespace=default"];
    let started = Instant::now();
    loop {
        let (node, account) = (kubectl.run(READY).await?, kubectl.run(ACCOUNT).await?);
        if node.stdout.trim() == "True" && account.status.success() {
            return Ok(());
        }
        if servers.iter().any(Server::has_ended) || started.elapsed() > READY_WITHIN {
            let logs: Vec<String> = servers.iter().map(Server::log_tail).collect();
            let answer = format!("{} {} {}", node.stdout, node.stderr.trim(), account.stderr.trim());
            return Err(Error::NodeNotReady { waited: started.elapsed(), answer, logs: logs.join("\n") });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

const CONTAINERD: &str = "containerd.toml";
const KUBELET: &str = "kubelet.yaml";

fn write_files(inside: &Inside) -> Result<(), Error> {
    let folder = &inside.folder;
    let cni = folder.join("cni");
    std::fs::create_dir_all(&cni).map_err(Error::file("cannot create", &cni))?;
    for (path, text) in [
        (folder.join(CONTAINERD), containerd_config(folder)),
        (folder.join(KUBELET), kubelet_config(folder, &inside.control_group().to_string_lossy())),
        (cni.join("10-pods.conflist"), NETWORK.to_owned()),
    ] {
        std::fs::write(&path, text).map_err(Error::file("cannot write", &path))?;
    }
    // kubelet needs an existing root for its control groups and does not create one.
    for tree in control_group_trees()? {
        let group = tree.join(inside.control_group());
        std::fs::create_dir(&group).map_err(Error::file("cannot create the control group", &group))?;
    }
    Ok(())
}

/// One on cgroup v2, one for each controller on v1.
fn control_group_trees() -> Result<Vec<PathBuf>, Error> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let entries = std::fs::read_dir(root).map_err(Error::file("cannot list", root))?;
    // Links such as `cpuacct -> cpu,cpuacct` name the same tree again.
    let is_tree = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    Ok(entries.filter_map(Result::ok).filter(is_tree).map(|entry| entry.path()).collect())
}

fn containerd_config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 3
root = "{folder}/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.cri.v1.runtime"]
# A container or a small virtual machine may refuse a lower score, and then no sandbox starts.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{folder}/cni"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"
"#
    )
}

/// Pods on a bridge that reaches the node itself and nothing beyond it.
const NETWORK: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge",
    "bridge": "pods",
    "isDefaultGateway": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]]}
  }]
}
"#;

fn kubelet_config(folder: &Path, control_group: &str) -> String {
    let folder = folder.display();
    format!(
        r"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {SERVICE_ADDRESS}
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix://{SOCKET}
cgroupDriver: cgroupfs
cgroupRoot: /{control_group}
failCgroupV1: false
failSwapOn: false
# The node is a guest on its machine: it reserves nothing and evicts nothing when the machine is nearly full.
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: {{memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
podLogsDir: {folder}/pod-logs
resolvConf: ''
"
    )
}

fn kubelet_args(folder: &Path, kubeconfig: &Path) -> Vec<OsString> {
    vec![
        flag("--config", folder.join(KUBELET)),
        flag("--kubeconfig", kubeconfig),
        flag("--root-dir", folder.join("kubelet")),
        flag("--cert-dir", folder.join("kubelet-pki")),
        flag("--hostname-override", NAME),
        flag("--node-ip", SERVICE_ADDRESS),
    ]
}

/// Neither it nor the controller manager serves a port, because nothing connects to them.
fn scheduler_args(kubeconfig: &Path) -> Vec<OsString> {
    vec![flag("--kubeconfig", kubeconfig), flag("--leader-elect", "false"), flag("--secure-port", "0")]
}

fn controller_manager_args(keys: &Path, kubeconfig: &Path) -> Vec<OsString> {
    vec![
        flag("--kubeconfig", kubeconfig),
        flag("--leader-elect", "false"),
        flag("--secure-port", "0"),
        flag("--service-account-private-key-file", keys.join(TOKEN_KEY)),
        flag("--root-ca-file", keys.join(CA)),
        flag("--use-service-account-credentials", "true"),
    ]
}
