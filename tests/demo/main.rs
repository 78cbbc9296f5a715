//! The demo: a short story on a real kube-apiserver, told with the real output of kubectl. Each step is checked.
//!
//! On a terminal it stays up afterwards and says how to play with it; otherwise it ends, with a failure if a step failed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use controlplane::ControlPlane;
use fdi_simulator::{InstanceHandle, Manner, NewTasks, Options, Simulator};
use tokio::process::{Child, Command};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const INSTANCE: &str = "1d94f3f6-1111-2222-3333-444455556666";
const SOON: Duration = Duration::from_secs(60);

struct Stage {
    plane: ControlPlane,
    service: InstanceHandle,
    operator: Child,
    log: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    say("Starting a real etcd and kube-apiserver (the first time they are built: some minutes) …");
    let plane = ControlPlane::start().await.unwrap_or_else(|error| fail(&error.to_string()));
    say("Starting the simulated FDI service and the operator …");
    let simulator = Simulator::start(Options::default()).await.unwrap_or_else(|error| fail(&error.to_string()));
    simulator.set_token("demo-token", Some(PROJECT), Duration::from_secs(24 * 3600));
    let service = simulator.instance(PROJECT, INSTANCE);
    service.create(&NewTasks { ids: (1..=25).map(|n| format!("orders-{n:02}")).collect(), ..NewTasks::default() });
    let log = folder.path().join("operator.log");
    let operator = start_operator(&plane, &log);
    let mut stage = Stage { plane, service, operator, log };
    stage.kubectl(&["apply", "--server-side", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")], "").await;
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    stage.kubectl(&established, "").await;

    stage.together(&simulator.url()).await;
    stage.behind_our_back().await;
    stage.without_a_plan().await;
    stage.the_other_way().await;
    stage.silence().await;

    if std::io::stdout().is_terminal() && std::env::var_os("CI").is_none() {
        stage.play(&simulator.url()).await;
    }
    let _ = stage.operator.kill().await;
    let _ = stage.plane.stop().await;
    ExitCode::SUCCESS
}

impl Stage {
    async fn together(&self, url: &str) {
        title("1. Two groups, 25 tasks, applied together");
        let samples = include_str!("../../deploy/samples/demo/orders.yaml").replace("http://127.0.0.1:8089", url);
        self.show(&["apply", "--server-side", "-f", "-"], &samples).await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.show(&["get", "fdiinstances"], "").await;
        self.show(&["get", "fditaskgroups"], "").await;
        check(self.service.running().len() == 25, "all 25 tasks are running at the service");
        self.check_calls(0, 3);
    }

    async fn behind_our_back(&self) {
        title("2. Somebody stops a task at the console");
        let before = self.service.batch_calls().len();
        self.service.set_running("orders-07", false).unwrap();
        say("orders-07 was stopped behind the operator's back; the next look (every 10 s here) finds it …");
        let back = self.service.wait_until_all(true, &["orders-07".to_owned()], SOON).await;
        check(back.is_ok(), "the operator started it again");
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.check_calls(before, 1);
        let events = ["get", "events.events.k8s.io", "--field-selector=reason=DriftCorrected"];
        self.eventually(&events, "DriftCorrected").await;
        self.show(&events, "").await;
    }

    async fn without_a_plan(&self) {
        title("3. A task without schedule plan");
        self.service.set_running("orders-20", false).unwrap();
        self.service.set_manners("orders-20", [Manner::NoSchedulePlan]).unwrap();
        self.show(&["annotate", "fditaskgroup/returns", "--overwrite", "reconcile.fluxcd.io/requestedAt=now"], "")
            .await;
        self.show(&["wait", "--for=jsonpath={.status.tasks.failed}=1", "fditaskgroup/returns", "--timeout=60s"], "")
            .await;
        self.show(&["get", "fditaskgroups"], "").await;
        let failure = self.show(&["get", "fditaskgroup/returns", "-o=jsonpath={.status.failures[0]}{'\\n'}"], "").await;
        check(
            failure.contains("orders-20") && failure.contains("FDI.3083"),
            "the group says which task, which code, what to do",
        );
        say("The plan is added in ROMA Connect, and the group is asked to try again now:");
        self.service.set_manners("orders-20", []).unwrap();
        self.show(&["annotate", "fditaskgroup/returns", "--overwrite", "reconcile.fluxcd.io/requestedAt=again"], "")
            .await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroup/returns", "--timeout=60s"], "").await;
    }

    async fn the_other_way(&self) {
        title("4. Everything is to stop");
        let before = self.service.batch_calls().len();
        let stop = "spec:\n  desiredState: Stopped\n";
        self.show(&["patch", "fditaskgroups", "nightly-orders", "returns", "--type=merge", "-p", stop], "").await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.show(&["get", "fditaskgroups"], "").await;
        check(self.service.running().is_empty(), "no task is running at the service");
        self.check_calls(before, 3);
    }

    async fn silence(&self) {
        title("5. Nothing to do");
        let (calls, lists) = (self.service.batch_calls().len(), self.service.list_calls().len());
        let versions = "-o=jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}";
        let get = ["get", "fdiinstances,fditaskgroups", versions];
        let before = self.show(&get, "").await;
        say("25 seconds in which the operator looks at the service as always …");
        tokio::time::sleep(Duration::from_secs(25)).await;
        let after = self.show(&get, "").await;
        check(after == before, "nothing was written: the same resource versions");
        check(self.service.batch_calls().len() == calls, "no task was started or stopped");
        let looks = self.service.list_calls().len() - lists;
        check((2..=4).contains(&looks), &format!("{looks} list requests in 25 s, one for each look"));
    }

    async fn play(&mut self, url: &str) {
        title("It is yours now");
        let kubeconfig = self.plane.kubeconfig_path();
        let kubectl = self.plane.kubectl().path().parent().map(Path::to_path_buf).unwrap_or_default();
        println!("  export KUBECONFIG={} PATH=$PATH:{}", kubeconfig.display(), kubectl.display());
        println!("  kubectl get fditaskgroups -w");
        println!("  kubectl edit fditaskgroup nightly-orders");
        println!(
            "  curl -s {url}/_sim/calls        # every request that the service saw; more in tests/simulator/README.md"
        );
        println!("  tail -f {}", self.log.display());
        println!("\nCtrl-C ends everything.");
        let _ = tokio::signal::ctrl_c().await;
    }

    /// Runs kubectl and shows what it says.
    async fn show(&self, args: &[&str], input: &str) -> String {
        let shown: Vec<String> = args
            .iter()
            .map(|arg| if arg.contains([' ', '{', '\n']) { format!("'{}'", arg.trim_end()) } else { (*arg).to_owned() })
            .collect();
        println!("\n$ kubectl {}", shown.join(" "));
        let said = self.kubectl(args, input).await;
        print!("{said}");
        said
    }

    async fn kubectl(&self, args: &[&str], input: &str) -> String {
        let output = self.plane.kubectl().run_with_input(args.iter().copied(), input).await;
        let output = output.unwrap_or_else(|error| fail(&error.to_string()));
        if !output.status.success() {
            println!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
            fail(&format!("kubectl {}: {}", args.join(" "), output.stderr));
        }
        output.stdout
    }

    async fn eventually(&self, args: &[&str], words: &str) {
        let told = async {
            while !self.kubectl(args, "").await.contains(words) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        check(tokio::time::timeout(SOON, told).await.is_ok(), &format!("an event says {words}"));
    }

    fn check_calls(&self, before: usize, expected: usize) {
        let calls = self.service.batch_calls().split_off(before);
        for call in &calls {
            let action = call.action.map_or("", |action| if action.running() { "start" } else { "stop" });
            println!("  call log: {action} {} tasks → {}", call.ids.len(), call.status.unwrap_or_default());
        }
        check(calls.len() == expected, &format!("{} call(s) were enough", calls.len()));
    }
}

/// The real binary, beside this one in the target folder.
fn start_operator(plane: &ControlPlane, log: &Path) -> Child {
    let here = std::env::current_exe().unwrap();
    let binary = here.parent().and_then(Path::parent).unwrap().join("fdi-operator");
    Command::new(&binary)
        .args(["run", "--leader-election=false", "--allow-insecure-endpoints", "--listen-address=127.0.0.1:0"])
        .env("KUBECONFIG", plane.kubeconfig_path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| fail(&format!("{}: {error}", binary.display())))
}

fn title(text: &str) {
    println!("\n\n== {text} ==");
}

fn say(text: &str) {
    println!("{text}");
}

fn check(holds: bool, what: &str) {
    if !holds {
        fail(&format!("not so: {what}"));
    }
    println!("  ✓ {what}");
}

fn fail(why: &str) -> ! {
    eprintln!("demo failed: {why}");
    std::process::exit(1)
}
