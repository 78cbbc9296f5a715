import os
import tempfile

import programs

# The SDK writes an ID of the machine below HOME when it is imported: not into the developer's.
SCRATCH = tempfile.TemporaryDirectory(prefix="fdi-contract-")
os.environ["HOME"] = SCRATCH.name
for name in [name for name in os.environ if name.startswith("HUAWEICLOUD_SDK_") or name.lower().endswith("_proxy")]:
    del os.environ[name]

import pytest

from definition import Definition
from sdk import Sdk
from wire import Recorder


@pytest.fixture(scope="session")
def definition() -> Definition:
    return Definition.fetch()


@pytest.fixture
def sim(tmp_path):
    preset = tmp_path / "preset.json"
    preset.write_text(Sdk.preset())
    with programs.Simulator(tmp_path, f"--preset={preset}") as sim:
        yield sim


@pytest.fixture
def wire(sim):
    recorder = Recorder(sim.port)
    yield recorder
    recorder.close()


@pytest.fixture
def sdk(wire) -> Sdk:
    return Sdk(wire.url)
