//! The demo: a short story on a real kube-apiserver, with the real output of kubectl and of
//! the command line. It checks each step.
//!
//! On a terminal it stays up afterwards and shows how to continue by hand; otherwise it exits, with
//! a failure if a step failed.
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
const TIMEOUT: Duration = Duration::from_secs(60);

struct Demo {
    plane: ControlPlane,
    service: InstanceHandle,
    operator: Child,
    log: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    narrate("Starting a real etcd and kube-apiserver (the first time they are built: about 11 minutes on 2 cores) …");
    let plane = ControlPlane::start().await.unwrap_or_else(|error| fail(&error.to_string()));
    narrate("Starting the simulated FDI service and the operator …");
    let simulator = Simulator::start(Options::default()).await.unwrap_or_else(|error| fail(&error.to_string()));
    simulator.set_token("demo-token", Some(PROJECT), Duration::from_secs(24 * 3600));
    let service = simulator.instance(PROJECT, INSTANCE);
    service.create(&NewTasks { ids: (1..=25).map(|n| format!("orders-{n:02}")).collect(), ..NewTasks::default() });
    let log = folder.path().join("operator.log");
    let operator = start_operator(&plane, &log);
    let mut demo = Demo { plane, service, operator, log };
    demo.kubectl(&["apply", "--server-side", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")], "").await;
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    demo.kubectl(&established, "").await;

    demo.start_two_groups(&simulator.url()).await;
    demo.correct_drift().await;
    demo.report_a_failure().await;
    demo.stop_everything().await;
    demo.import_the_rest().await;
    demo.choose_by_name().await;
    demo.stay_idle().await;

    if std::io::stdout().is_terminal() && std::env::var_os("CI").is_none() {
        demo.stay_up(&simulator.url()).await;
    }
    let _ = demo.operator.kill().await;
    let _ = demo.plane.stop().await;
    ExitCode::SUCCESS
}

impl Demo {
    async fn start_two_groups(&self, url: &str) {
        title("1. Two groups, 25 tasks, applied together");
        let samples = include_str!("../../deploy/samples/demo/orders.yaml").replace("http://127.0.0.1:8089", url);
        self.show(&["apply", "--server-side", "-f", "-"], &samples).await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.show(&["get", "fdiinstances"], "").await;
        self.show(&["get", "fditaskgroups"], "").await;
        check(self.service.running().len() == 25, "all 25 tasks are running at the service");
        self.check_calls(0, 3);
    }

    async fn correct_drift(&self) {
        title("2. Somebody stops a task at the console");
        let before = self.service.batch_calls().len();
        self.service.set_running("orders-07", false).unwrap();
        narrate("Somebody stopped orders-07; the operator notices with its next list (every 10 s here) …");
        let back = self.service.wait_until_all(true, &["orders-07".to_owned()], TIMEOUT).await;
        check(back.is_ok(), "the operator started it again");
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.check_calls(before, 1);
        let events = ["get", "events.events.k8s.io", "--field-selector=reason=DriftCorrected"];
        self.eventually(&events, "DriftCorrected").await;
        self.show(&events, "").await;
    }

    async fn report_a_failure(&self) {
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
            "the status names the task, the code and the cure",
        );
        narrate("Somebody adds the plan in ROMA Connect and asks the group to try again now:");
        self.service.set_manners("orders-20", []).unwrap();
        self.show(&["annotate", "fditaskgroup/returns", "--overwrite", "reconcile.fluxcd.io/requestedAt=again"], "")
            .await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroup/returns", "--timeout=60s"], "").await;
    }

    async fn stop_everything(&self) {
        title("4. Stop everything");
        let before = self.service.batch_calls().len();
        let stop = "spec:\n  desiredState: Stopped\n";
        self.show(&["patch", "fditaskgroups", "nightly-orders", "returns", "--type=merge", "-p", stop], "").await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.show(&["get", "fditaskgroups"], "").await;
        check(self.service.running().is_empty(), "no task is running at the service");
        self.check_calls(before, 3);
    }

    async fn import_the_rest(&self) {
        title("5. Tasks that no group owns yet");
        let names = ["billing-daily", "billing-weekly"].map(str::to_owned).to_vec();
        let task_tag = Some("billing".to_owned());
        self.service.create(&NewTasks { count: 2, names, task_tag, running: true, ..NewTasks::default() });
        let before = self.service.batch_calls().len();
        self.fdi_operator(&["tasks", "orders-roma", "--unmanaged"], 0).await;
        let manifests = self.fdi_operator(&["import", "orders-roma", "--by=tag", "--as=selector"], 0).await;
        self.show(&["apply", "-f", "-"], &manifests).await;
        self.show(&["wait", "--for=condition=Ready", "fditaskgroups", "--all", "--timeout=60s"], "").await;
        self.check_calls(before, 0);
    }

    async fn choose_by_name(&self) {
        title("6. A group of one's own, by name, and what a wrong name looks like");
        self.service.create(&NewTasks { names: vec!["month-end".to_owned()], ..NewTasks::default() });
        let before = self.service.batch_calls().len();
        let group = "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiTaskGroup\nmetadata: {name: closing}\nspec:\n  \
                     instanceRef: {name: orders-roma}\n  desiredState: Running\n  taskNames: [month-edn]\n";
        println!("{group}");
        self.show(&["apply", "-f", "-"], group).await;
        self.show(&["wait", "--for=jsonpath={.status.pending}", "fditaskgroup/closing", "--timeout=60s"], "").await;
        let status = self.fdi_operator(&["status", "closing"], 2).await;
        check(status.contains("month-edn"), "the status says which name no task has");
        let correct = "spec:\n  taskNames: [month-end]\n";
        self.show(&["patch", "fditaskgroup", "closing", "--type=merge", "-p", correct], "").await;
        self.fdi_operator(&["wait", "closing", "--timeout=60s"], 0).await;
        self.check_calls(before, 1);
    }

    async fn stay_idle(&self) {
        title("7. Nothing to do");
        let (calls, lists) = (self.service.batch_calls().len(), self.service.list_calls().len());
        let versions = "-o=jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}";
        let get = ["get", "fdiinstances,fditaskgroups", versions];
        let before = self.show(&get, "").await;
        narrate("For 25 seconds the operator lists the tasks as always …");
        tokio::time::sleep(Duration::from_secs(25)).await;
        let after = self.show(&get, "").await;
        check(after == before, "it wrote nothing: the resource versions are the same");
        check(self.service.batch_calls().len() == calls, "it started and stopped no task");
        let lists = self.service.list_calls().len() - lists;
        check((2..=4).contains(&lists), &format!("it sent {} in 25 s", counted(lists, "list")));
    }

    async fn stay_up(&mut self, url: &str) {
        title("Continue by hand");
        let kubeconfig = self.plane.kubeconfig_path();
        let kubectl = self.plane.kubectl().path().parent().map(Path::to_path_buf).unwrap_or_default();
        let folders =
            [kubectl.as_path(), binary().parent().unwrap()].map(|folder| folder.display().to_string()).join(":");
        println!("  export KUBECONFIG={} PATH=$PATH:{folders}", kubeconfig.display());
        println!("  export FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS=true");
        println!("  kubectl get fditaskgroups -w");
        println!("  fdi-operator tasks orders-roma");
        println!("  kubectl edit fditaskgroup nightly-orders");
        println!(
            "  curl -s {url}/_sim/calls        # every request that the service saw; more in tests/simulator/README.md"
        );
        println!("  tail -f {}", self.log.display());
        println!("\nCtrl-C ends everything.");
        let _ = tokio::signal::ctrl_c().await;
    }

    /// Runs the command line and shows its output.
    async fn fdi_operator(&self, args: &[&str], code: i32) -> String {
        println!("\n$ fdi-operator {}", args.join(" "));
        let output = Command::new(binary())
            .args(args)
            .env("KUBECONFIG", self.plane.kubeconfig_path())
            .env("FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS", "true")
            .output()
            .await
            .unwrap_or_else(|error| fail(&format!("{}: {error}", binary().display())));
        let [printed, noted] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        print!("{printed}{noted}");
        if output.status.code() != Some(code) {
            fail(&format!("fdi-operator {}: {}", args.join(" "), output.status));
        }
        printed
    }

    /// Runs kubectl and shows its output.
    async fn show(&self, args: &[&str], input: &str) -> String {
        let shown: Vec<String> = args
            .iter()
            .map(|arg| if arg.contains([' ', '{', '\n']) { format!("'{}'", arg.trim_end()) } else { (*arg).to_owned() })
            .collect();
        println!("\n$ kubectl {}", shown.join(" "));
        let output = self.kubectl(args, input).await;
        print!("{output}");
        output
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
        let published = async {
            while !self.kubectl(args, "").await.contains(words) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        check(tokio::time::timeout(TIMEOUT, published).await.is_ok(), &format!("an event reports {words}"));
    }

    fn check_calls(&self, before: usize, expected: usize) {
        let calls = self.service.batch_calls().split_off(before);
        for call in &calls {
            let action = call.action.map_or("", |action| if action.running() { "start" } else { "stop" });
            println!("  call log: {action} {} → {}", counted(call.ids.len(), "task"), call.status.unwrap_or_default());
        }
        check(calls.len() == expected, &format!("{}, and no more", counted(calls.len(), "call")));
    }
}

/// The real binary, beside this one in the target folder.
fn binary() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.parent().and_then(Path::parent).unwrap().join("fdi-operator")
}

fn start_operator(plane: &ControlPlane, log: &Path) -> Child {
    let binary = binary();
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

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn title(text: &str) {
    println!("\n\n== {text} ==");
}

fn narrate(text: &str) {
    println!("{text}");
}

fn check(holds: bool, what: &str) {
    if !holds {
        fail(&format!("this does not hold: {what}"));
    }
    println!("  ✓ {what}");
}

/// Unwinds, so that the operator and the control plane end too.
fn fail(why: &str) -> ! {
    eprintln!("demo failed: {why}");
    std::panic::resume_unwind(Box::new(()))
}
