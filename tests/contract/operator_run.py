"""A short life of the operator process on a real API server, its requests recorded."""

import json
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

from programs import ENVIRONMENT, INSTANCE, PROJECT, ROOT, Program, Simulator, eventually, program
from sdk import ACCESS_KEY, SECRET_KEY, Sdk
from wire import Recorder


@contextmanager
def operator_run(folder: Path):
    """Starts twelve tasks of a group and stops them again, and meets a task without schedule plan and one whose runs
    fail; gives the recorder."""
    preset, kubeconfig = folder / "preset.json", folder / "kubeconfig"
    preset.write_text(Sdk.preset())
    with ExitStack() as stack:
        sim = stack.enter_context(Simulator(folder, f"--preset={preset}"))
        wire = Recorder(sim.port)
        stack.callback(wire.close)
        plane = Program(folder / "controlplane.log", [program("controlplane"), "run", f"--kubeconfig={kubeconfig}"])
        stack.enter_context(plane)
        eventually("the API server is ready", lambda: plane.alive() and "kubectl get" in plane.log.read_text(), 600)
        kubectl = Kubectl(kubeconfig)
        kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        ids = sim.of_instance("POST", "/tasks", {"count": 12})["task_ids"]
        bad = sim.of_instance("POST", "/tasks", {"count": 1, "manners": [{"kind": "no-schedule-plan"}]})["task_ids"]
        failing = sim.of_instance("POST", "/tasks", {"count": 1, "manners": [{"kind": "fails-runs", "code": 103}]})["task_ids"]
        kubectl.apply(
            secret(), instance(wire.url), group("good", ids), group("bad", bad), group("failing", failing)
        )
        operator = Program(
            folder / "operator.log",
            [program("fdi-operator"), "run", "--allow-insecure-endpoints", "--leader-election=false",
             "--listen-address=127.0.0.1:0"],
            {**kubectl.environment, "NO_PROXY": "*"},
        )
        with operator:
            kubectl("wait", "--for=condition=Ready", "fditaskgroup/good", "--timeout=60s")
            kubectl("wait", "--for=condition=Stalled", "fditaskgroup/bad", "--timeout=60s")
            kubectl("wait", "--for=condition=RunsHealthy=False", "fditaskgroup/failing", "--timeout=60s")
            cause = ["get", "fditaskgroup/failing", "--output=jsonpath={.status.failedRuns[0].cause}"]
            eventually("the status has the cause", lambda: kubectl(*cause).startswith("103 "))
            kubectl.apply(group("good", ids, "Stopped"))
            kubectl("wait", "--for=condition=Ready", "fditaskgroup/good", "--timeout=60s")
            eventually(
                "the tasks are stopped", lambda: not any(task["running"] for task in sim.tasks() if task["id"] in ids)
            )
        yield wire


class Kubectl:
    def __init__(self, kubeconfig: Path):
        command = [program("controlplane"), "path"]
        folder = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout.strip()
        self.program = f"{folder}/kubectl"
        self.environment = {**ENVIRONMENT, "KUBECONFIG": str(kubeconfig)}

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            [self.program, *arguments], env=self.environment, input=text, capture_output=True, text=True
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict):
        self("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def secret() -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "roma-credentials"},
            "stringData": {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}}


def instance(url: str) -> dict:
    return {"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiInstance", "metadata": {"name": "roma"},
            "spec": {"endpoint": url, "projectId": PROJECT, "instanceId": INSTANCE,
                     "auth": {"accessKey": {"secretRef": {"name": "roma-credentials"}}}}}


def group(name: str, ids: list[str], state: str = "Running") -> dict:
    return {"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup", "metadata": {"name": name},
            "spec": {"instanceRef": {"name": "roma"}, "desiredState": state, "taskIds": ids}}
