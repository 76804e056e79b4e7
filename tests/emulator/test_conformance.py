"""Batch v1 as Google's Python client sees it, over gRPC, async gRPC and REST: one suite for all three."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions as gax
from google.cloud import batch_v1

from airflow_batchstream.emulator.testing import Local

PARENT = "projects/test-project/locations/europe-west4"
Make = Callable[..., dict[str, Any]]


def create(client: Any, job: Any, job_id: str = "", **more: Any) -> batch_v1.Job:
    return client.create_job(request={"parent": PARENT, "job": job, "job_id": job_id, **more})


@pytest.fixture
def job_id() -> str:
    return f"job-{uuid.uuid4().hex[:16]}"


class TestCreate:
    def test_answers_the_job_with_name_uid_state_and_times(self, client: Any, script: Make, job_id: str) -> None:
        before = time.time()
        job = create(client, script("true"), job_id)
        assert job.name == f"{PARENT}/jobs/{job_id}"
        assert job.uid.startswith(job_id)
        assert job.status.state.name == "QUEUED"
        assert before - 1 < job.create_time.timestamp() < time.time() + 1

    def test_makes_an_id_where_none_is_given(self, client: Any, script: Make) -> None:
        name = create(client, script("true")).name
        assert name.startswith(f"{PARENT}/jobs/")
        assert len(name) > len(f"{PARENT}/jobs/")

    def test_fills_in_what_batch_fills_in(self, client: Any, script: Make, job_id: str) -> None:
        job = create(client, script("true"), job_id)
        group = job.task_groups[0]
        assert (group.task_count, group.parallelism) == (1, 1)
        assert group.name.endswith(f"/locations/europe-west4/jobs/{job_id}/taskGroups/group0")
        assert group.task_spec.compute_resource.cpu_milli == 2000
        assert job.allocation_policy.labels["batch-job-id"] == job_id
        assert list(job.allocation_policy.location.allowed_locations) == ["regions/europe-west4"]

    def test_drops_output_fields_that_a_caller_sends(self, client: Any, script: Make, job_id: str) -> None:
        sent = script("true", job={"uid": "mine", "name": "mine", "status": {"state": "SUCCEEDED"}})
        job = create(client, sent, job_id)
        assert (job.status.state.name, job.uid == "mine", job.name == "mine") == ("QUEUED", False, False)

    def test_refuses_an_id_that_is_taken(self, client: Any, script: Make, job_id: str) -> None:
        create(client, script("true"), job_id)
        with pytest.raises(gax.Conflict, match="already exists") as refused:
            create(client, script("true"), job_id)
        assert refused.value.grpc_status_code is None or refused.value.grpc_status_code.name == "ALREADY_EXISTS"

    def test_answers_a_repeated_request_id_with_the_same_job(self, client: Any, script: Make, job_id: str) -> None:
        once = str(uuid.uuid4())
        first = create(client, script("true"), job_id, request_id=once)
        again = create(client, script("true"), job_id, request_id=once)
        assert again.uid == first.uid

    @pytest.mark.parametrize("value", ["not-a-uuid", "00000000-0000-0000-0000-000000000000"])
    def test_refuses_a_request_id_that_is_no_uuid(self, client: Any, script: Make, value: str) -> None:
        with pytest.raises(gax.BadRequest, match="request_id"):
            create(client, script("true"), request_id=value)

    @pytest.mark.parametrize("value", ["Upper", "1digit", "trailing-", "under_score", "a" * 64, "dot.ted"])
    def test_refuses_an_id_against_the_rule(self, client: Any, script: Make, value: str) -> None:
        with pytest.raises(gax.BadRequest, match="job_id"):
            create(client, script("true"), value)

    def test_takes_the_longest_id(self, client: Any, script: Make) -> None:
        longest = f"a{uuid.uuid4().hex}{'b' * 30}"
        assert len(longest) == 63
        assert create(client, script("true"), longest).name.endswith(longest)


def changed(job: dict[str, Any], **group: Any) -> dict[str, Any]:
    job["task_groups"][0].update(group)
    return job


REFUSED: list[tuple[str, Callable[[Make], Any], str]] = [
    ("no task group", lambda s: {"task_groups": []}, "task_groups"),
    ("two task groups", lambda s: {"task_groups": s("true")["task_groups"] * 2}, "exactly one"),
    ("no runnable", lambda s: {"task_groups": [{"task_spec": {}}]}, "runnables is empty"),
    (
        "a runnable of no kind",
        lambda s: {"task_groups": [{"task_spec": {"runnables": [{"display_name": "x"}]}}]},
        "none of",
    ),
    (
        "no image",
        lambda s: {"task_groups": [{"task_spec": {"runnables": [{"container": {"image_uri": " "}}]}}]},
        "image_uri",
    ),
    ("an empty script", lambda s: s(""), "neither text nor path"),
    ("too many tasks", lambda s: changed(s("true"), task_count=10_001), "task_count"),
    ("negative tasks", lambda s: changed(s("true"), task_count=-1), "task_count"),
    (
        "environments that do not match",
        lambda s: changed(s("true"), task_count=3, task_environments=[{"variables": {"A": "1"}}]),
        "task_environments has 1",
    ),
    ("too many retries", lambda s: s("true", max_retry_count=11), r"\[0, 10\]"),
    ("two lifecycle policies", lambda s: s("true", lifecycle_policies=[POLICY, POLICY]), "only one lifecycle policy"),
    (
        "a lifecycle policy without codes",
        lambda s: s("true", lifecycle_policies=[{"action": "RETRY_TASK"}]),
        "exit codes",
    ),
    ("a reserved label", lambda s: s("true", job={"labels": {"goog-x": "1"}}), "reserved for Google"),
    ("an upper-case label", lambda s: s("true", job={"labels": {"Team": "1"}}), "invalid label key"),
    ("an upper-case label value", lambda s: s("true", job={"labels": {"team": "A"}}), "invalid value"),
    ("a priority out of range", lambda s: s("true", job={"priority": 100}), "priority"),
    (
        "a location elsewhere",
        lambda s: s("true", job={"allocation_policy": {"location": {"allowed_locations": ["regions/us-central1"]}}}),
        "not in the job's region",
    ),
    ("a volume that is none", lambda s: container(volumes=["data:/data"]), "volumes"),
    ("too large a job", lambda s: s("true", job={"allocation_policy": {"tags": ["x" * 1000] * 1001}}), "bytes large"),
]
POLICY = {"action": "RETRY_TASK", "action_condition": {"exit_codes": [1]}}


def container(**fields: Any) -> dict[str, Any]:
    runnable = {"container": {"image_uri": "europe-docker.pkg.dev/p/r/i", **fields}}
    return {"task_groups": [{"task_spec": {"runnables": [runnable]}}]}


class TestAJobThatBatchRefuses:
    @pytest.mark.parametrize(("make", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
    def test_is_answered_with_invalid_argument_and_the_rule(
        self, client: Any, script: Make, job_id: str, make: Callable[[Make], Any], words: str
    ) -> None:
        with pytest.raises(gax.BadRequest, match=words):
            create(client, make(script), job_id)
        with pytest.raises(gax.NotFound):
            client.get_job(name=f"{PARENT}/jobs/{job_id}")


UNSUPPORTED: list[tuple[str, Any, str]] = [
    ("docker options", lambda s: container(options="--privileged"), "container.options.*no Docker"),
    ("a barrier", lambda s: {"task_groups": [{"task_spec": {"runnables": [{"barrier": {"name": "b"}}]}}]}, "barrier"),
    (
        "secrets",
        lambda s: s("true", environment={"secret_variables": {"A": "projects/p/secrets/s/versions/1"}}),
        "Secret",
    ),
    ("NFS", lambda s: s("true", volumes=[{"nfs": {"server": "a", "remote_path": "/b"}, "mount_path": "/mnt"}]), "NFS"),
    ("notifications", lambda s: s("true", job={"notifications": [{"pubsub_topic": "projects/p/topics/t"}]}), "Pub/Sub"),
    (
        "log files",
        lambda s: s("true", job={"logs_policy": {"destination": "PATH", "logs_path": "/x"}}),
        "CLOUD_LOGGING",
    ),
]


class TestAJobThatOnlyTheLocalBatchRefuses:
    @pytest.mark.parametrize(("make", "words"), [u[1:] for u in UNSUPPORTED], ids=[u[0] for u in UNSUPPORTED])
    def test_is_answered_with_unimplemented_and_a_sentence(
        self, client: Any, script: Make, make: Callable[[Make], Any], words: str
    ) -> None:
        with pytest.raises(gax.MethodNotImplemented, match=words):
            create(client, make(script))

    def test_but_streaming_makes_batch_ignore_docker_options(self, client: Any) -> None:
        assert create(client, container(options="--privileged", enable_image_streaming=True)).uid


class TestParents:
    @pytest.mark.parametrize(
        "parent", ["projects/p", "projects/p/locations/-", "projects/-/locations/us-central1", "x"]
    )
    def test_a_job_needs_a_project_and_a_region(self, client: Any, script: Make, parent: str) -> None:
        with pytest.raises((gax.BadRequest, gax.NotFound, ValueError)):  # the REST client checks the form itself
            client.create_job(request={"parent": parent, "job": script("true")})

    def test_an_impossible_location_is_refused(self, client: Any, script: Make) -> None:
        with pytest.raises(gax.Forbidden, match="Location nowhere is not found"):
            client.create_job(request={"parent": "projects/p/locations/nowhere", "job": script("true")})

    def test_a_domain_scoped_project_is_taken(self, client: Any, script: Make, job_id: str) -> None:
        parent = "projects/example.com:proj/locations/us-central1"
        client.create_job(request={"parent": parent, "job": script("true"), "job_id": job_id})
        assert client.get_job(name=f"{parent}/jobs/{job_id}").name == f"{parent}/jobs/{job_id}"


class TestGet:
    def test_a_job_that_is_not_there_is_not_found(self, client: Any) -> None:
        with pytest.raises(gax.NotFound, match="was not found"):
            client.get_job(name=f"{PARENT}/jobs/nobody")

    def test_shows_counts_run_time_and_events_when_it_has_ended(self, client: Any, script: Make) -> None:
        job = client.run(script("sleep 0.2", group={"task_count": 3}))
        assert job.status.task_groups["group0"].counts == {"SUCCEEDED": 3}
        assert job.status.run_duration.total_seconds() >= 0.2
        assert [e.description.split(" for ")[0] for e in job.status.status_events] == [
            "Job state is set from QUEUED to SCHEDULED",
            "Job state is set from SCHEDULED to RUNNING",
            "Job state is set from RUNNING to SUCCEEDED",
        ]
        assert {e.type_ for e in job.status.status_events} == {"STATUS_CHANGED"}


class TestTasks:
    def test_are_listed_with_state_and_events(self, client: Any, script: Make) -> None:
        job = client.run(script("exit $BATCH_TASK_INDEX", group={"task_count": 2}))
        tasks = client.tasks(job)
        assert [t.name for t in tasks] == [f"{job.name}/taskGroups/group0/tasks/{i}" for i in range(2)]
        assert [t.status.state.name for t in tasks] == ["SUCCEEDED", "FAILED"]
        last = tasks[1].status.status_events[-1]
        assert (last.task_execution.exit_code, last.task_state.name) == (1, "FAILED")

    def test_come_one_by_one(self, client: Any, script: Make) -> None:
        job = client.run(script("true", group={"task_count": 2}))
        assert client.get_task(name=f"{job.name}/taskGroups/group0/tasks/1").status.state.name == "SUCCEEDED"
        for missing in (f"{job.name}/taskGroups/group0/tasks/2", f"{job.name}/taskGroups/other/tasks/0"):
            with pytest.raises(gax.NotFound):
                client.get_task(name=missing)

    def test_come_in_pages(self, client: Any, script: Make) -> None:
        job = client.run(script("true", group={"task_count": 5}))
        parent = f"{job.name}/taskGroups/group0"
        names = [t.name for t in client.listed("list_tasks", request={"parent": parent, "page_size": 2})]
        assert names == [f"{parent}/tasks/{i}" for i in range(5)]

    def test_can_be_filtered_by_state(self, client: Any, script: Make) -> None:
        job = client.run(script("exit $BATCH_TASK_INDEX", group={"task_count": 3}))
        request = {"parent": f"{job.name}/taskGroups/group0", "filter": "state=FAILED"}
        assert [t.name[-1] for t in client.listed("list_tasks", request=request)] == ["1", "2"]


class TestListJobs:
    def test_pages_filters_and_orders(self, client: Any, script: Make) -> None:
        mark = f"m{uuid.uuid4().hex[:10]}"
        made = [create(client, script("true", job={"labels": {"mark": mark}}), f"{mark}-{i}") for i in range(3)]
        request = {"parent": PARENT, "filter": f'labels.mark="{mark}"', "page_size": 2, "order_by": "name"}
        assert [j.name for j in client.listed("list_jobs", request=request)] == [j.name for j in made]
        newest = client.listed("list_jobs", request={**request, "order_by": "create_time desc"})
        assert [j.name for j in newest] == [j.name for j in reversed(made)]

    def test_knows_states_and_times(self, client: Any, script: Make) -> None:
        mark = f"m{uuid.uuid4().hex[:10]}"
        job = client.run(script("false", job={"labels": {"mark": mark}}))

        def found(more: str) -> list[str]:
            return [
                j.name
                for j in client.listed("list_jobs", request={"parent": PARENT, "filter": f"labels.mark={mark} {more}"})
            ]

        assert found("AND status.state=FAILED") == [job.name]
        assert found("AND state=FAILED") == [job.name]
        assert found("AND NOT state=FAILED") == []
        assert found('AND create_time>"2020-01-01T00:00:00Z"') == [job.name]
        assert found('AND create_time<"2020-01-01T00:00:00Z"') == []

    def test_covers_all_regions_by_a_dash(self, client: Any, script: Make, job_id: str) -> None:
        create(client, script("true"), job_id)
        everywhere = client.listed(
            "list_jobs", request={"parent": "projects/test-project/locations/-", "page_size": 1000}
        )
        assert f"{PARENT}/jobs/{job_id}" in [j.name for j in everywhere]

    @pytest.mark.parametrize(
        "wrong",
        [{"filter": "state=="}, {"order_by": "name sideways"}, {"page_token": "nonsense"}, {"page_size": -1}],
    )
    def test_refuses_what_it_cannot_read(self, client: Any, wrong: dict[str, Any]) -> None:
        with pytest.raises(gax.BadRequest):
            client.listed("list_jobs", request={"parent": PARENT, **wrong})


class TestCancel:
    def test_is_an_operation_that_is_done_when_nothing_runs(self, client: Any, script: Make) -> None:
        job = create(client, script("sleep 60"))
        client.until(job.name, {"RUNNING"})
        client.result(client.cancel_job(name=job.name))
        after = client.get_job(name=job.name)
        assert after.status.state.name == "CANCELLED"
        assert after.status.task_groups["group0"].counts == {"FAILED": 1}

    def test_of_an_ended_job_is_refused(self, client: Any, script: Make) -> None:
        job = client.run(script("true"))
        with pytest.raises((gax.FailedPrecondition, gax.BadRequest), match="SUCCEEDED"):
            client.cancel_job(name=job.name)

    def test_of_nothing_is_not_found(self, client: Any) -> None:
        with pytest.raises(gax.NotFound):
            client.cancel_job(name=f"{PARENT}/jobs/nobody")

    def test_twice_with_one_request_id_is_one_operation(self, client: Any, script: Make) -> None:
        job = create(client, script("sleep 60"))
        request = {"name": job.name, "request_id": str(uuid.uuid4())}
        first, again = client.cancel_job(request=request), client.cancel_job(request=request)
        assert first.operation.name == again.operation.name
        client.result(first)


class TestDelete:
    def test_of_a_running_job_stops_it_and_forgets_it(
        self, client: Any, script: Make, job_id: str, emulator: Local
    ) -> None:
        emulator.inject({"job": job_id, "stay": "DELETION_IN_PROGRESS", "seconds": 2.0})  # long enough to be seen
        job = create(client, script("sleep 60"), job_id)
        client.until(job.name, {"RUNNING"})
        operation = client.delete_job(name=job.name)
        assert client.get_job(name=job.name).status.state.name == "DELETION_IN_PROGRESS"
        client.result(operation)
        emulator.heal()
        with pytest.raises(gax.NotFound):
            client.get_job(name=job.name)

    def test_frees_the_id(self, client: Any, script: Make, job_id: str) -> None:
        first = client.run(script("true"), job_id)
        client.result(client.delete_job(name=first.name))
        assert create(client, script("true"), job_id).uid != first.uid


class TestOperations:
    def test_are_shown_with_target_and_verb(self, client: Any, script: Make) -> None:
        job = client.run(script("true"))
        operation = client.delete_job(name=job.name)
        shown = client.get_operation(request={"name": operation.operation.name})
        metadata = batch_v1.OperationMetadata()
        shown.metadata.Unpack(batch_v1.OperationMetadata.pb(metadata))
        assert shown.done
        assert (metadata.target, metadata.verb, metadata.api_version) == (job.name, "delete", "v1")
        listed = client.list_operations(request={"name": PARENT, "page_size": 1000})
        assert operation.operation.name in [o.name for o in listed.operations]

    def test_can_be_forgotten(self, client: Any, script: Make) -> None:
        operation = client.delete_job(name=client.run(script("true")).name)
        client.delete_operation(request={"name": operation.operation.name})
        with pytest.raises(gax.NotFound):
            client.get_operation(request={"name": operation.operation.name})


class TestLocations:
    def test_are_listed_and_got(self, client: Any) -> None:
        listed = client.list_locations(request={"name": "projects/test-project", "page_size": 100})
        assert "us-central1" in [loc.location_id for loc in listed.locations]
        one = client.get_location(request={"name": PARENT})
        assert (one.name, one.location_id) == (PARENT, "europe-west4")
