"""The wire of the official SDK, the simulator and the operator against the official API definition."""

from urllib.parse import parse_qsl

import pytest

from definition import EXEMPTIONS, Definition
from operator_run import operator_run
from sdk import ClientError


@pytest.fixture(scope="module")
def operator_wire(tmp_path_factory):
    with operator_run(tmp_path_factory.mktemp("operator")) as wire:
        yield wire


def assert_defined(definition: Definition, wire):
    assert wire.log, "nothing was recorded"
    wrong = {f"{e.method} {e.target} {e.status}": found for e in wire.log if (found := definition.check(e))}
    assert not wrong


def test_what_the_simulator_answers_is_what_the_definition_says(definition, sim, sdk, wire):
    good, = sim.of_instance("POST", "/tasks", {"count": 1, "task_tag": "nightly"})["task_ids"]
    long, = sim.of_instance("POST", "/tasks", {"names": ["n" * 100]})["task_ids"]
    bad, = sim.of_instance("POST", "/tasks", {"count": 1, "manners": [{"kind": "no-schedule-plan"}]})["task_ids"]
    for task_id in [good, long, bad]:
        sdk.show(task_id)
    for policy in ["whole-request", "failure-item"]:
        for shape in ["flat", "wrapped"]:
            sim.of_instance("PATCH", "/policies", {"missing_plan": policy, "error_shape": shape})
            for ids in [[good, long], [good, bad], []]:
                try:
                    sdk.batch("start", ids)
                    sdk.batch("stop", ids)
                except ClientError as refused:
                    assert refused.error_code in {"FDI.3083", "FDI.3150"}
    assert {exchange.status for exchange in wire.of("batch")} == {200, 400, 404}
    assert_defined(definition, wire)


def test_what_the_operator_sends_is_what_the_definition_says(definition, operator_wire):
    assert {exchange.json()["action_id"] for exchange in operator_wire.of("batch")} == {"start", "stop"}
    assert any(b"FDI.3083" in exchange.answer for exchange in operator_wire.of("batch")), "a refused task was met"
    assert_defined(definition, operator_wire)
    for exchange in operator_wire.of("batch"):
        ids = [bean["task_id"] for bean in exchange.json()["list"]]
        assert 1 <= len(ids) <= 10, "the page says ten, whatever the definition says"
        assert len(set(ids)) == len(ids)


# Header fields whose value, presence or both may differ between the SDK and the operator, and why.
DIFFERENCES = {
    "user-agent": "each says who it is",
    "accept": "the SDK takes anything; the operator only reads JSON",
    "accept-encoding": "the SDK takes compressed answers; the operator does not, because it bounds what it reads",
    "connection": "the default of HTTP/1.1, which the SDK spells out",
    "authorization": "covers the time, and for the SDK the User-Agent; compared in its parts below",
    "x-sdk-date": "the time of the request",
    "content-length": "JSON with and without spaces; absent or 0 where there is no body",
    "host": "the same proxy address only within one test",
}


@pytest.mark.parametrize("operation", ["list", "monitor_log", "batch"])
def test_the_sdks_request_and_the_operators_differ_only_where_documented(sdk, wire, operator_wire, operation):
    ours = operator_wire.of(operation)[0]
    if operation == "list":
        sdk.tasks(limit=999, offset=0)
    elif operation == "monitor_log":
        query = {name: int(value) for name, value in parse_qsl(ours.query)}
        assert set(query) == {"begin_time", "limit", "offset"}
        with pytest.raises(ClientError):  # This task, too.
            sdk.monitor_log(ours.path.split("/")[-2], **query)
    else:
        body = ours.json()
        with pytest.raises(ClientError):  # These tasks are of the operator's simulator.
            sdk.batch(body["action_id"], [bean["task_id"] for bean in body["list"]])
    theirs = wire.last(operation)
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    if operation == "batch":
        assert ours.json() == theirs.json()
    else:
        assert ours.body == theirs.body == b""
    same = lambda exchange: {name: value for name, value in exchange.sent.items() if name not in DIFFERENCES}
    assert same(ours) == same(theirs)
    assert {"content-type", "x-project-id"} == set(same(ours))
    assert signed(theirs) - signed(ours) == {"user-agent"} and signed(ours) <= signed(theirs)
    assert algorithm(ours) == algorithm(theirs) == "SDK-HMAC-SHA256"
    assert ours.sent["user-agent"].startswith("fdi-operator/")


def signed(exchange) -> set[str]:
    parts = exchange.sent["authorization"].partition(" ")[2].split(", ")
    return set(dict(part.split("=", 1) for part in parts)["SignedHeaders"].split(";"))


def algorithm(exchange) -> str:
    return exchange.sent["authorization"].partition(" ")[0]


def test_a_break_of_the_definition_is_found(definition):
    bean = {"action_id": "restart", "list": [{"task_id": "a"}, {"task_id": ""}, {"taskId": "b"}]}
    assert len(definition.violations("BatchStartOrStopTasks", "OperateTasksBean", bean)) == 3


def test_every_exemption_is_still_needed(definition):
    assert set(definition.used) == set(EXEMPTIONS)
