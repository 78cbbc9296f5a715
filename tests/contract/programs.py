"""Starts the project's own programs, and speaks to the simulator's control API."""

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Taken before the tests move HOME away, for cargo's sake.
ENVIRONMENT = dict(os.environ)
PROJECT = "0123456789abcdef0123456789abcdef"
INSTANCE = "1d94f3f6-1111-2222-3333-444455556666"
DEADLINE = 60.0


def program(name: str) -> str:
    return str(Path(ENVIRONMENT.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / name)


def eventually(what: str, condition, deadline: float = DEADLINE):
    """The first result of `condition` that is true; fails with `what` when there is none in time."""
    end = time.monotonic() + deadline
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.05)


class Program:
    """A child process that ends with the `with` block; its output is in `log`."""

    def __init__(self, log: Path, arguments: list[str], environment: dict[str, str] | None = None):
        self.log, self.arguments, self.environment = log, arguments, environment or ENVIRONMENT

    def __enter__(self):
        self.process = subprocess.Popen(
            self.arguments, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=self.log.open("wb"), stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def alive(self) -> bool:
        assert self.process.poll() is None, f"{self.arguments[0]} ended:\n{self.log.read_text()}"
        return True


class Simulator(Program):
    def __init__(self, folder: Path, *arguments: str):
        self.ports = folder / "ports"
        super().__init__(
            folder / "simulator.log",
            [program("fdi-simulator"), "--listen=127.0.0.1:0", f"--port-file={self.ports}", f"--project={PROJECT}",
             f"--instance={INSTANCE}", *arguments],
        )

    def __enter__(self):
        super().__enter__()
        eventually("the simulator listens", lambda: self.alive() and self.ports.exists())
        self.port = int(self.ports.read_text().split()[0])
        return self

    def control(self, method: str, path: str, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_sim{path}", method=method,
            data=None if body is None else json.dumps(body).encode(), headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            text = response.read()
        return json.loads(text) if text else None

    def of_instance(self, method: str, path: str, body=None):
        return self.control(method, f"/instances/{PROJECT}/{INSTANCE}{path}", body)

    def tasks(self) -> list[dict]:
        return self.of_instance("GET", "/tasks")
