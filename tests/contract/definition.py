"""The official API definition (Swagger 2.0), with the list of places where it contradicts the service's own documents."""

import json
import subprocess
from collections import Counter
from pathlib import Path

from jsonschema import Draft4Validator

from programs import ENVIRONMENT
from wire import Exchange

PACKAGE = "huawei-cloud-api-definitions-ROMA"

# (definition, field, rule) → why our side may break the rule. A test fails for an entry that nothing needs any more.
EXEMPTIONS = {
    ("TaskBeanFacade", "error_msg", "maxLength"):
        "64 at most, but the definition's own text of FDI.3083 has 68 characters",
    ("TaskBeanFacade", "error_msg", "minLength"):
        "1 at least, but the definition's own example is the empty string, which is what a success carries",
    ("TaskBeanFacade", "task_name", "maxLength"):
        "64 at most, but CreateCommonTask lets names have 100 characters",
    ("OperateTasksBean", "list", "minItems"):
        "1 at least, but the definition documents FDI.3150 for a request with an empty list",
    ("TaskBasicRsp", "description", "minLength"):
        "1 at least, but CreateCommonTask does not require a description, and a task without one is shown with an empty one",
    ("TaskBasicRsp", "task_tag", "type"):
        "always text, but CreateCommonTask does not require a tag; the SDK's models take null",
    ("ErrorRsp", "", "wrapped"):
        "flat, but CreateDispatches' examples of the same errors have {code, reason: {error_code, error_msg}}",
}

# What no definition describes: the API gateway in front of FDI answers these by its own rules.
GATEWAY_STATUSES = {401, 403, 429, 502, 503, 504}


class Definition:
    def __init__(self, folder: Path):
        self.folder = folder
        self.used: Counter = Counter()

    @classmethod
    def fetch(cls) -> "Definition":
        """Has cargo fetch the pinned package and reads its files where cargo keeps them."""
        manifest = Path(__file__).with_name("definition") / "Cargo.toml"
        command = ["cargo", "metadata", "--quiet", "--locked", "--format-version=1", f"--manifest-path={manifest}"]
        metadata = json.loads(subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True).stdout)
        package = next(package for package in metadata["packages"] if package["name"] == PACKAGE)
        return cls(Path(package["manifest_path"]).parent / "src")

    def operation(self, name: str) -> dict:
        return json.loads((self.folder / f"{name}.json").read_text())

    def violations(self, operation: str, definition: str, value) -> list[str]:
        """What in `value` breaks the definition, exemptions left out (and counted)."""
        definitions = self.operation(operation)["definitions"]
        for schema in definitions.values():
            # The definition lists every field, so one that it does not have is a spelling of ours.
            if "properties" in schema:
                schema.setdefault("type", "object")
                schema["additionalProperties"] = False
        validator = Draft4Validator({"$ref": f"#/definitions/{definition}", "definitions": definitions})
        found = []
        for error in validator.iter_errors(value):
            place = self._place(definitions, definition, error)
            if place in EXEMPTIONS:
                self.used[place] += 1
            else:
                found.append(f"{place}: {error.message}")
        return found

    @staticmethod
    def _place(definitions: dict, definition: str, error) -> tuple[str, str, str]:
        """Definition, field and rule that an error is about."""
        field = ""
        for step in error.absolute_path:
            if isinstance(step, int):
                continue
            if field:
                definition = Definition._of_field(definitions, definition, field)
            field = step
        return definition, field, error.validator

    @staticmethod
    def _of_field(definitions: dict, definition: str, field: str) -> str:
        schema = definitions[definition]["properties"][field]
        return schema.get("items", schema)["$ref"].rpartition("/")[2]

    def check(self, exchange: Exchange) -> list[str]:
        """What in a recorded exchange breaks the definition."""
        if exchange.operation == "batch":
            return self._check_batch(exchange)
        if exchange.operation == "show" and exchange.status == 200:
            # ShowTask has no file of its own; CreateCommonTask answers the same object.
            return self.violations("CreateCommonTask", "TaskBasicRsp", exchange.answer_json()["task"])
        return []

    def _check_batch(self, exchange: Exchange) -> list[str]:
        name = "BatchStartOrStopTasks"
        definition = self.operation(name)
        (template, operations), = definition["paths"].items()
        operation, = operations.items()
        verb, described = operation
        found = [] if exchange.method.lower() == verb else [f"the verb {exchange.method}"]
        found += self._check_path(template, definition["parameters"], exchange.path)
        found += self.violations(name, "OperateTasksBean", exchange.json())
        if exchange.status in GATEWAY_STATUSES:
            return found
        answer = described["responses"].get(str(exchange.status))
        if answer is None:
            return [*found, f"the status {exchange.status}"]
        value = exchange.answer_json()
        if exchange.status >= 400 and set(value) == {"code", "reason"}:
            self.used["ErrorRsp", "", "wrapped"] += 1
            value = value["reason"]
        return found + self.violations(name, answer["schema"]["$ref"].rpartition("/")[2], value)

    @staticmethod
    def _check_path(template: str, parameters: dict, path: str) -> list[str]:
        wanted, given = template.split("/"), path.split("/")
        if len(wanted) != len(given):
            return [f"the path {path}"]
        found = []
        for part, value in zip(wanted, given):
            rule = parameters.get(part.strip("{}"))
            if rule and not rule["minLength"] <= len(value) <= rule["maxLength"]:
                found.append(f"{rule['name']} has {len(value)} characters")
            elif not rule and part != value:
                found.append(f"{value} in the path in place of {part}")
        return found
