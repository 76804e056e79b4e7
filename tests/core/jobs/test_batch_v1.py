"""The table of Google's schema against Google's own packages."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.core.jobs.batch_v1 import camel, nearest, places, table

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    """What the script makes of the packages that are installed."""
    spec = importlib.util.spec_from_file_location("batch_schema", ROOT / "scripts" / "batch_schema.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.table())


class TestTheTableFollowsGooglesPackages:
    def test_it_knows_every_field_of_the_installed_packages(self, installed: dict[str, Any]) -> None:
        """Older packages know less, newer ones more: then scripts/batch_schema.py has to be run."""
        ours = json.loads((ROOT / "airflow_batchstream/core/jobs/batch_v1.json").read_text())
        if installed["revision"] == ours["revision"]:
            assert installed == ours
        for message, fields in installed["messages"].items():
            for name, field in fields.items():
                known = ours["messages"][message][name]
                assert known | {"enum": 0} == field | {"enum": 0}
                assert known.get("enum", [])[: len(field.get("enum", []))] == field.get("enum", [])
        for message, groups in installed["oneofs"].items():
            assert groups == ours["oneofs"][message]

    def test_the_number_of_an_enums_name_is_its_place(self) -> None:
        from google.cloud import batch_v1

        wrong, seen = [], set()

        def walk(descriptor: Any, message: str) -> None:
            seen.add(message)
            for part in descriptor.fields:
                field = table().messages[message].get(part.json_name)
                if field is None or field.kind == "output":
                    continue
                if field.names:
                    numbers = {value.name: value.number for value in part.enum_type.values}
                    wrong.extend(n for i, n in enumerate(field.names) if numbers.get(n, i) != i)
                if field.kind == "message" and field.message not in seen:
                    inner = part.message_type
                    walk(inner.fields_by_name["value"].message_type if field.mapped else inner, field.message)

        walk(batch_v1.Job.pb().DESCRIPTOR, "Job")
        assert not wrong
        assert "LogsPolicy" in seen

    def test_only_known_kinds_are_in_it(self) -> None:
        kinds = {field.kind for fields in table().messages.values() for field in fields.values()}
        assert kinds <= {"string", "bool", "int32", "int64", "enum", "duration", "message", "output"}


class TestNamesThatAreNearlyRight:
    @pytest.mark.parametrize(
        ("written", "message", "meant"),
        [
            ("imageURI", "Container", "imageUri"),
            ("image", "Container", "imageUri"),
            ("IMAGE_URI", "Container", "imageUri"),
            ("command", "Container", "commands"),
            ("args", "Container", "commands"),
            ("runables", "TaskSpec", "runnables"),
            ("timeout", "TaskSpec", "maxRunDuration"),
            ("env", "Runnable", "environment"),
            ("taskgroups", "Job", "taskGroups"),
            ("parallism", "TaskGroup", "parallelism"),
            ("zebra", "Job", ""),
        ],
    )
    def test_the_nearest_name_is_what_was_meant(self, written: str, message: str, meant: str) -> None:
        assert nearest(written, table().messages[message]) == meant

    def test_snake_case_becomes_camel_case_and_camel_case_stays(self) -> None:
        assert camel("no_external_ip_address") == "noExternalIpAddress"
        assert camel("noExternalIpAddress") == "noExternalIpAddress"

    def test_a_fields_place_is_known(self) -> None:
        assert places()["machineType"] == ("allocationPolicy.instances[].policy.machineType",)
        assert "uid" not in places()
