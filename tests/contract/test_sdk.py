"""The official SDK against the simulator: every call that a client of FDI needs, and how errors are read."""

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkroma.v2 import BriefTaskRespBean, TaskMonitorDetailLog, TaskMonitorLog

from programs import PROJECT
from sdk import ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN, TEMPORARY_KEY, ClientError, Sdk


def ids_of(page) -> list[str]:
    return [task.task_id for task in page.entities]


def test_tasks_are_listed_page_by_page(sim, sdk):
    created = sim.of_instance("POST", "/tasks", {"count": 25})
    pages, offset = [], 0
    while True:
        page = sdk.tasks(limit=10, offset=offset)
        assert page.total == 25
        assert page.size == len(page.entities)
        if not page.entities:
            break
        pages.append(ids_of(page))
        offset += len(page.entities)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert len({task_id for page in pages for task_id in page}) == 25 == len(created["task_ids"])


@pytest.mark.parametrize(("query", "wanted"), [
    ({"status": 1}, {"orders-run"}),
    ({"status": 0}, {"orders-stop", "räum auf", "failed"}),
    ({"name": "orders"}, {"orders-run", "orders-stop"}),
    ({"name": "räum auf"}, {"räum auf"}),
    ({"task_type": "realtime"}, {"failed"}),
    ({"execute_status": "ERROR"}, {"failed"}),
    ({"task_tag": "nightly"}, {"orders-stop"}),
    ({"status": 0, "name": "orders"}, {"orders-stop"}),
])
def test_a_filter_finds_the_tasks_it_names(sim, sdk, query, wanted):
    for task in [
        {"names": ["orders-run"], "running": True},
        {"names": ["orders-stop"], "task_tag": "nightly"},
        {"names": ["räum auf"]},
        {"names": ["failed"], "task_type": "REALTIME", "last_run": "ERROR"},
    ]:
        sim.of_instance("POST", "/tasks", {"count": 1, **task})
    assert {task.task_name for task in sdk.tasks(limit=10, **query).entities} == wanted


def test_sorting_by_status_puts_the_running_first_or_last(sim, sdk):
    sim.of_instance("POST", "/tasks", {"count": 2})
    sim.of_instance("POST", "/tasks", {"count": 2, "running": True})
    for order, wanted in [("ASC", [0, 0, 1, 1]), ("DESC", [1, 1, 0, 0])]:
        assert [task.status for task in sdk.tasks(limit=10, sort_field="STATUS", sort_type=order).entities] == wanted


def test_every_field_of_a_listed_task_is_one_that_the_sdk_knows_with_the_type_that_it_decodes(sim, sdk, wire):
    sim.of_instance("POST", "/tasks", {"count": 3})
    sdk.tasks(limit=10)
    answer = wire.last("list").answer_json()
    assert set(answer) == {"total", "size", "entities"}
    types = {"str": str, "int": int, "date": str}
    for entity in answer["entities"]:
        assert set(entity) == set(BriefTaskRespBean.attribute_map.values())
        for field, type_ in BriefTaskRespBean.openapi_types.items():
            value = entity[field]
            assert value is None or type(value) is types[type_], f"{field}: {value!r}"


def failing_task(sim, runs: int) -> str:
    """A task with so many runs, the last of which has failed."""
    task_id, = sim.of_instance("POST", "/tasks", {"count": 1, "running": True})["task_ids"]
    for run in range(runs):
        how = {"execute_status": "ERROR", "code": 103} if run == runs - 1 else {"execute_status": "SUCCESS"}
        sim.of_instance("POST", f"/tasks/{task_id}/runs", how)
    return task_id


def test_the_monitor_log_of_a_task_is_read_page_by_page(sim, sdk):
    task_id = failing_task(sim, 25)
    pages = [sdk.monitor_log(task_id, limit=10, offset=offset) for offset in [1, 11, 21]]
    assert [page.total for page in pages] == [25] * 3
    assert [page.size for page in pages] == [len(page.entities) for page in pages] == [10, 10, 5]
    runs = [run for page in pages for run in page.entities]
    assert len({run.id for run in runs}) == 25
    failed, = [run for run in runs if run.execute_status == "ERROR"]
    assert failed.status == 103
    newest = max(run.start_time for run in runs)
    since = sdk.monitor_log(task_id, limit=100, offset=1, begin_time=newest)
    assert failed.id in {run.id for run in since.entities} and all(run.start_time >= newest for run in since.entities)
    assert sdk.monitor_log(task_id, begin_time=newest + 1).total == 0


def test_every_field_of_a_run_is_one_that_the_sdk_knows_with_the_type_that_it_decodes(sim, sdk, wire):
    sdk.monitor_log(failing_task(sim, 2))
    answer = wire.last("monitor_log").answer_json()
    assert set(answer) == {"total", "size", "entities"} and len(answer["entities"]) == 2
    types = {"str": str, "int": int, "float": float}

    def check(model, value):
        assert set(value) <= set(model.attribute_map.values())
        for attribute, type_ in model.openapi_types.items():
            found = value.get(model.attribute_map[attribute])
            if type_.startswith("list["):
                for item in found or []:
                    check(TaskMonitorDetailLog, item)
            elif found is not None:
                assert type(found) is types[type_], f"{attribute}: {found!r}"

    for run in answer["entities"]:
        assert {"start_time", "execute_status", "status", "remarks"} <= set(run), "what the operator reads"
        check(TaskMonitorLog, run)


def test_the_monitor_log_of_an_unknown_task_or_with_offset_0_is_refused(sim, sdk):
    with pytest.raises(ClientError) as refused:
        sdk.monitor_log("nobody-knows-this-task")
    assert refused.value.error_code.startswith("FDI.")
    with pytest.raises(ClientError) as refused:
        sdk.monitor_log(failing_task(sim, 1), offset=0)
    assert refused.value.error_code == "FDI.3033"


def test_a_task_is_shown_with_its_switch_as_a_word(sim, sdk):
    task_id, = sim.of_instance("POST", "/tasks", {"count": 1, "running": True})["task_ids"]
    shown = sdk.show(task_id)
    assert (shown.task.task_id, shown.task.status, shown.task.project_id) == (task_id, "running", PROJECT)


def test_tasks_are_started_and_stopped(sim, sdk):
    ids = sim.of_instance("POST", "/tasks", {"count": 10})["task_ids"]
    for action, status in [("start", 1), ("stop", 0)]:
        answer = sdk.batch(action, ids)
        assert (answer.success_count, answer.failure_count) == (10, 0)
        assert {task.task_id for task in answer.success} == set(ids)
        assert {task.status for task in sdk.tasks(limit=10).entities} == {status}


def test_tasks_that_the_service_refuses_come_back_one_by_one(sim, sdk):
    sim.of_instance("PATCH", "/policies", {"missing_plan": "failure-item"})
    good, = sim.of_instance("POST", "/tasks", {"count": 1})["task_ids"]
    bad, = sim.of_instance("POST", "/tasks", {"count": 1, "manners": [{"kind": "no-schedule-plan"}]})["task_ids"]
    answer = sdk.batch("start", [good, bad])
    assert [task.task_id for task in answer.success] == [good]
    assert [(task.task_id, task.error_code) for task in answer.failure] == [(bad, "FDI.3083")]


@pytest.mark.parametrize(("ids", "status", "code"), [
    ([], 400, "FDI.3150"),
    (["nobody-knows-this-task"], 400, "FDI.3021"),
    ([f"task-{n}" for n in range(11)], 400, "FDI.3002"),
])
def test_a_batch_that_is_refused_as_a_whole_has_the_services_code(sim, sdk, ids, status, code):
    with pytest.raises(ClientError) as refused:
        sdk.batch("start", ids)
    assert (refused.value.status_code, refused.value.error_code) == (status, code)
    assert refused.value.error_msg and refused.value.request_id


@pytest.mark.parametrize("shape", ["flat", "wrapped"])
def test_an_error_is_read_in_both_documented_shapes(sim, sdk, shape):
    sim.control("PATCH", "/policies", {"error_shape": shape})
    task_id, = sim.of_instance("POST", "/tasks", {"count": 1, "manners": [{"kind": "no-schedule-plan"}]})["task_ids"]
    with pytest.raises(ClientError) as refused:
        sdk.batch("start", [task_id])
    assert (refused.value.status_code, refused.value.error_code) == (404, "FDI.3083")


def test_a_throttled_start_shows_the_gateways_code(sim, sdk):
    sim.control("POST", "/faults", {
        "operation": "batch", "times": 1, "kind": "answer", "status": 429, "headers": [["content-type", "application/json"]],
        "body": '{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached.","request_id":"r"}',
    })
    with pytest.raises(ClientError) as refused:
        sdk.batch("start", ["a"])
    assert (refused.value.status_code, refused.value.error_code) == (429, "APIGW.0308")


def test_a_wrong_secret_key_is_refused_by_the_gateway(sim, wire):
    with pytest.raises(ClientError) as refused:
        Sdk(wire.url, BasicCredentials(ACCESS_KEY, "wrong", PROJECT)).tasks(limit=1)
    assert (refused.value.status_code, refused.value.error_code) == (401, "APIGW.0301")


def test_a_temporary_key_needs_its_security_token(sim, wire):
    temporary = lambda: BasicCredentials(TEMPORARY_KEY, SECRET_KEY, PROJECT)
    assert Sdk(wire.url, temporary().with_security_token(SECURITY_TOKEN)).tasks(limit=1).total == 0
    with pytest.raises(ClientError) as refused:
        Sdk(wire.url, temporary()).tasks(limit=1)
    assert refused.value.status_code == 401


def test_by_region_the_sdk_looks_the_project_up_first(sim, wire):
    sim.of_instance("POST", "/tasks", {"count": 2})
    assert Sdk.by_region(wire.url).tasks(limit=10).total == 2
    assert [exchange.target for exchange in wire.log][0] == "/v3/projects?name=cn-north-4"
    assert wire.last("list").sent["x-project-id"] == PROJECT


@pytest.mark.parametrize("task_id", ["x y/z", "ä%2F", "a+b", "a;b=c,d", "tilde~star*", "a.b_c-d"])
def test_a_signature_over_an_odd_path_holds(sim, sdk, task_id):
    with pytest.raises(ClientError) as refused:
        sdk.show(task_id)
    assert refused.value.error_code.startswith("FDI."), "the gateway let the signature pass; FDI does not know the task"


@pytest.mark.parametrize("name", ["a b", "ä=&?#", "100%", "+", "~*!'()", "日本"])
def test_a_signature_over_an_odd_query_holds(sim, sdk, name):
    assert sdk.tasks(limit=10, name=name).total == 0
