"""The official SDK as its documentation shows it, against any endpoint."""

import json
import os

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions import exceptions
from huaweicloudsdkroma.v2 import (
    BatchStartOrStopTasksRequest, ListMonitorLogRequest, ListTasksRequest, OperateTasksBean, RomaClient, ShowTaskRequest,
    TaskBean,
)
from huaweicloudsdkroma.v2.region.roma_region import RomaRegion

from programs import INSTANCE, PROJECT

ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLEROMA00001", "SKexample0000000000000000000000000000TEST"
TEMPORARY_KEY, SECURITY_TOKEN = "AKIDTEMPORARY0000001", "security-token/+=="
ClientError = exceptions.ClientRequestException


class Sdk:
    def __init__(self, url: str, credentials: BasicCredentials | None = None):
        credentials = credentials or BasicCredentials(ACCESS_KEY, SECRET_KEY, PROJECT)
        self.client = RomaClient.new_builder().with_credentials(credentials).with_endpoint(url).build()

    @classmethod
    def by_region(cls, url: str, region: str = "cn-north-4") -> "Sdk":
        """Without a project ID: the SDK asks IAM for the project of the region first."""
        variable = f"HUAWEICLOUD_SDK_REGION_ROMA_{region.upper().replace('-', '_')}"
        os.environ[variable] = url
        try:
            credentials = BasicCredentials(ACCESS_KEY, SECRET_KEY).with_iam_endpoint(url)
            sdk = cls.__new__(cls)
            sdk.client = RomaClient.new_builder().with_credentials(credentials).with_region(RomaRegion.value_of(region)).build()
            return sdk
        finally:
            del os.environ[variable]

    @staticmethod
    def preset() -> str:
        """What the simulator knows beside its tasks."""
        return json.dumps({
            "projects": {PROJECT: "cn-north-4"},
            "keys": {
                ACCESS_KEY: {"secret": SECRET_KEY},
                TEMPORARY_KEY: {"secret": SECRET_KEY, "security_token": SECURITY_TOKEN},
            },
        })

    def tasks(self, **query):
        return self.client.list_tasks(ListTasksRequest(instance_id=INSTANCE, **query))

    def show(self, task_id: str):
        return self.client.show_task(ShowTaskRequest(instance_id=INSTANCE, task_id=task_id))

    def monitor_log(self, task_id: str, **query):
        return self.client.list_monitor_log(ListMonitorLogRequest(instance_id=INSTANCE, task_id=task_id, **query))

    def batch(self, action: str, ids: list[str]):
        body = OperateTasksBean(action_id=action, list=[TaskBean(task_id) for task_id in ids])
        return self.client.batch_start_or_stop_tasks(BatchStartOrStopTasksRequest(instance_id=INSTANCE, body=body))
