"""The table of calls and fields: complete, true, and as the docs show it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as gax
from google.cloud import batch_v1

from airflow_batchstream.emulator.fields import FIELDS, Treatment, leaves, set_fields

ROOT = Path(__file__).parents[2]
JOB = batch_v1.Job.pb()
PARENT = "projects/test-project/locations/europe-west4"
PATHS = list(leaves(JOB.DESCRIPTOR))


class TestTheTable:
    def test_has_every_field_of_google_s_client(self) -> None:
        assert sorted(set(PATHS) - set(FIELDS)) == []

    def test_has_no_field_that_google_s_client_lacks(self) -> None:
        """With an older client some may be missing: then this client is not what the table was made with."""
        assert sorted(set(FIELDS) - set(PATHS)) == []

    def test_says_what_to_do_where_it_refuses(self) -> None:
        assert [p for p, f in FIELDS.items() if f.treatment is Treatment.REFUSED and not f.says] == []

    def test_is_what_the_docs_show(self) -> None:
        command = [sys.executable, str(ROOT / "scripts/local_batch_coverage.py"), "--check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def with_field(path: str) -> Any:
    """A small job that sets one field to something that is not its default."""
    job = JOB()
    group = job.task_groups.add()
    if not path.startswith("taskGroups.taskSpec.runnables."):
        group.task_spec.runnables.add().script.text = "true"
    node: Any = job
    *heads, last = path.split(".")
    for head in heads:
        field = field_of(node, head)
        value = getattr(node, field.name)
        if hasattr(value, "DESCRIPTOR"):
            value.SetInParent()
            node = value
        elif field.message_type.GetOptions().map_entry:
            node = value["x"]
        else:
            node = value[0] if len(value) else value.add()
    put(node, field_of(node, last))
    return job


def field_of(message: Any, json_name: str) -> Any:
    return next(f for f in message.DESCRIPTOR.fields if f.json_name == json_name)


def put(node: Any, field: Any) -> None:
    value = getattr(node, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        value["k"] = "v"
    elif field.message_type and field.message_type.full_name == "google.protobuf.Duration":
        value.seconds = 60
    elif field.message_type:
        value.SetInParent()
    elif not isinstance(value, str | bytes) and hasattr(value, "append"):
        value.append(1 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64) else "x")
    else:
        one = {field.CPPTYPE_STRING: "/x", field.CPPTYPE_BOOL: True}.get(field.cpp_type, 1)
        setattr(node, field.name, one)


class TestEveryField:
    @pytest.mark.parametrize("path", [p for p in PATHS if FIELDS[p].treatment is Treatment.REFUSED])
    def test_that_is_refused_is_answered_with_unimplemented_and_its_name(self, batch: Any, path: str) -> None:
        with pytest.raises(gax.MethodNotImplemented) as refused:
            batch.create_job(parent=PARENT, job=batch_v1.Job.wrap(prepared(path)))
        assert path.rpartition(".")[2] in refused.value.message or "logsPath" in path

    @pytest.mark.parametrize("path", [p for p in PATHS if FIELDS[p].treatment is not Treatment.REFUSED])
    def test_that_is_not_refused_is_taken(self, batch: Any, path: str) -> None:
        job = batch.create_job(parent=PARENT, job=batch_v1.Job.wrap(prepared(path)))
        if FIELDS[path].treatment is not Treatment.OUTPUT:
            assert path in {p for p, _ in set_fields(batch_v1.Job.pb(job))}, "it is kept and shown"


def prepared(path: str) -> Any:
    """:func:`with_field`, with what else Batch wants beside the field."""
    job = with_field(path)
    group, values = job.task_groups[0], FIXES.get(path)
    for runnable in group.task_spec.runnables:
        if not runnable.WhichOneof("executable"):
            runnable.script.text = "true"
        if runnable.HasField("container"):
            runnable.container.image_uri = "europe-docker.pkg.dev/p/r/i"
    for volume in group.task_spec.volumes:
        volume.mount_path = volume.mount_path or "/mnt/x"
    if values:
        values(job)
    return job


def _lifecycle(job: Any) -> None:
    policy = job.task_groups[0].task_spec.lifecycle_policies[0]
    policy.action = 1
    policy.action_condition.exit_codes[:] = [1]


def _volume(job: Any) -> None:
    job.task_groups[0].task_spec.runnables[0].container.volumes[:] = ["/a:/b"]


def _location(job: Any) -> None:
    job.allocation_policy.location.allowed_locations[:] = ["regions/europe-west4"]


FIXES: dict[str, Callable[[Any], None]] = {
    "taskGroups.taskSpec.lifecyclePolicies.action": _lifecycle,
    "taskGroups.taskSpec.lifecyclePolicies.actionCondition.exitCodes": _lifecycle,
    "taskGroups.taskSpec.runnables.container.volumes": _volume,
    "allocationPolicy.location.allowedLocations": _location,
}
