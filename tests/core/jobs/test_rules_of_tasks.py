"""The rules of tasks, of the machines they run on, and of their volumes and logs."""

from __future__ import annotations

from typing import Any

import pytest
from job_rules import CONTAINER, INSTANCE, TASK, container, findings, job, refused, warned

from airflow_batchstream.core.findings import Verdict


class TestCounts:
    def test_task_count_and_task_environments_that_disagree_are_refused(self) -> None:
        written = job(group={"taskCount": 3, "taskEnvironments": [{"variables": {"A": "geheim"}}] * 2})
        found = refused(written)["job.taskGroups[0].taskCount"]
        assert "is 3, and taskEnvironments has 2: Batch would run 2 tasks" in found
        assert "geheim" not in found

    def test_a_zero_counts_as_unset(self) -> None:
        written = job(group={"taskCount": 0, "parallelism": 0, "taskEnvironments": [{"variables": {"A": "1"}}] * 2})
        assert findings(written) == []

    @pytest.mark.parametrize(
        ("written", "path"),
        [
            (job(group={"taskCount": -1}), "job.taskGroups[0].taskCount"),
            (job(group={"taskCount": 100_001}), "job.taskGroups[0].taskCount"),
            (job(group={"parallelism": 5_001}), "job.taskGroups[0].parallelism"),
            (job(task={"maxRetryCount": 11}), f"{TASK}.maxRetryCount"),
            (job(group={"taskCountPerNode": -1}), "job.taskGroups[0].taskCountPerNode"),
            (job(priority=100), "job.priority"),
            (job(group={"parallelism": 2, "schedulingPolicy": "IN_ORDER"}), "job.taskGroups[0].parallelism"),
        ],
    )
    def test_what_is_out_of_batchs_range_is_refused(self, written: dict[str, Any], path: str) -> None:
        assert refused(written).keys() == {path}

    def test_the_nearest_number_in_the_range_is_told(self) -> None:
        assert "Write 1 at least." in refused(job(group={"taskCount": -1}))["job.taskGroups[0].taskCount"]
        assert "Write 5000 at most." in refused(job(group={"parallelism": 9000}))["job.taskGroups[0].parallelism"]
        assert findings(job(group={"taskCount": 100_000, "parallelism": 5_000}, task={"maxRetryCount": 10})) == []

    def test_retries_of_batch_and_airflow_multiply(self) -> None:
        found = warned(job(task={"maxRetryCount": 2}), airflow_retries=3)[f"{TASK}.maxRetryCount"]
        assert "retries=3" in found
        assert "runs 12 times" in found
        assert findings(job(task={"maxRetryCount": 2})) == []
        assert findings(job(), airflow_retries=3) == []

    def test_a_retry_policy_without_retries_is_warned_about(self) -> None:
        written = job(task={"lifecyclePolicies": [{"action": "RETRY_TASK", "actionCondition": {"exitCodes": [1]}}]})
        assert "nothing is retried" in warned(written)[f"{TASK}.lifecyclePolicies[0]"]

    def test_a_run_longer_than_a_job_may_last_is_warned_about(self) -> None:
        assert findings(job(task={"maxRunDuration": "14d"})) == []
        assert "longer than 14 days" in warned(job(task={"maxRunDuration": "15d"}))[f"{TASK}.maxRunDuration"]

    def test_a_job_above_one_megabyte_is_refused(self) -> None:
        written = job(container(commands=["x" * 1_000_000]))
        assert "Batch takes 1,000,000" in refused(written)["job"]


class TestMachines:
    def test_gpus_without_drivers_are_warned_about(self) -> None:
        policy = {"accelerators": [{"type": "nvidia-tesla-t4", "count": 1}]}
        assert "no drivers" in warned(job(allocationPolicy={"instances": [{"policy": policy}]}))[INSTANCE]
        machine = {"machineType": "a2-highgpu-1g"}
        assert "a2-highgpu-1g has GPUs" in warned(job(allocationPolicy={"instances": [{"policy": machine}]}))[INSTANCE]

    @pytest.mark.parametrize(
        "instance",
        [
            {"installGpuDrivers": True, "policy": {"accelerators": [{"type": "t", "count": 1}]}},
            {"policy": {"accelerators": [{"type": "t", "count": 1, "installGpuDrivers": True}]}},
            {"policy": {"machineType": "e2-standard-4"}},
        ],
    )
    def test_with_drivers_or_without_gpus_nothing_is_said(self, instance: dict[str, Any]) -> None:
        assert findings(job(allocationPolicy={"instances": [instance]})) == []

    @pytest.mark.parametrize(
        ("interface", "missing"),
        [
            ({}, "network and subnetwork are missing"),
            ({"network": "n"}, "subnetwork is missing"),
            ({"subnetwork": "s"}, "network is missing"),
        ],
    )
    def test_no_external_address_needs_network_and_subnetwork(self, interface: dict[str, Any], missing: str) -> None:
        path = "job.allocationPolicy.network.networkInterfaces[0]"
        written = {"network": {"networkInterfaces": [interface | {"noExternalIpAddress": True}]}}
        assert missing in refused(job(allocationPolicy=written))[f"{path}.noExternalIpAddress"]
        written = {"network": {"networkInterfaces": [interface | {"noExternalIpAddress": False}]}}
        assert findings(job(allocationPolicy=written)) == []

    def test_a_subnetwork_elsewhere_is_refused(self) -> None:
        interface = {"network": "n", "subnetwork": "projects/p/regions/us-east1/subnetworks/s"}
        found = refused(job(allocationPolicy={"network": {"networkInterfaces": [interface]}}))
        assert "is in us-east1" in found["job.allocationPolicy.network.networkInterfaces[0].subnetwork"]

    def test_two_kinds_of_machines_are_refused(self) -> None:
        instances = [{"policy": {"machineType": "e2-small"}}, {"policy": {"machineType": "e2-medium"}}]
        assert (
            "Batch takes one"
            in refused(job(allocationPolicy={"instances": instances}))["job.allocationPolicy.instances"]
        )

    def test_a_boot_disk_from_a_snapshot_is_refused(self) -> None:
        policy = {"bootDisk": {"snapshot": "s"}}
        found = refused(job(allocationPolicy={"instances": [{"policy": policy}]}))
        assert f"{INSTANCE}.policy.bootDisk.snapshot" in found

    def test_two_sizes_of_the_boot_disk_are_warned_about(self) -> None:
        policy = {"bootDisk": {"sizeGb": 50}}
        written = job(
            task={"computeResource": {"bootDiskMib": 100}}, allocationPolicy={"instances": [{"policy": policy}]}
        )
        assert "Batch ignores" in warned(written)[f"{INSTANCE}.policy.bootDisk.sizeGb"]
        assert findings(job(allocationPolicy={"instances": [{"policy": policy}]})) == []

    @pytest.mark.parametrize("email", ["runner", "projects/p/serviceAccounts/a@b.c", "a@b"])
    def test_a_service_account_is_an_address(self, email: str) -> None:
        found = refused(job(allocationPolicy={"serviceAccount": {"email": email}}))
        assert "e-mail address" in found["job.allocationPolicy.serviceAccount.email"]


class TestWhatRuns:
    def test_a_job_has_one_task_group_with_runnables(self) -> None:
        assert "exactly one" in refused({})["job.taskGroups"]
        assert "there is nothing to run" in refused({"taskGroups": [{}]})[f"{TASK}.runnables"]
        two = job()["taskGroups"] * 2
        assert "there are 2 task groups" in refused({"taskGroups": two})["job.taskGroups"]

    def test_a_runnable_runs_something(self) -> None:
        found = refused(job(container(), {"displayName": "x"}))
        assert "neither container nor script nor barrier" in found[f"{TASK}.runnables[1]"]
        assert "neither text nor path" in refused(job(container(), {"script": {}}))[f"{TASK}.runnables[1].script"]

    @pytest.mark.parametrize(
        ("written", "path", "both"),
        [
            (job(container() | {"script": {"text": "x"}}), f"{TASK}.runnables[0]", "container and script"),
            (job(container(), {"script": {"text": "x", "path": "/x"}}), f"{TASK}.runnables[1].script", "path and text"),
            (
                job(allocationPolicy={"instances": [{"policy": {}, "instanceTemplate": "t"}]}),
                INSTANCE,
                "policy and instanceTemplate",
            ),
        ],
    )
    def test_fields_that_exclude_each_other(self, written: dict[str, Any], path: str, both: str) -> None:
        assert f"has {both}, and Batch takes only one of them" in refused(written)[path]


class TestVolumes:
    @pytest.mark.parametrize("volume", ["/data", "/a:/b:ro:x", "a:/b", "/a:b", ":/b", "./a:/b"])
    def test_a_container_volume_is_written_as_docker_wants_it(self, volume: str) -> None:
        assert refused(job(container(volumes=[volume]))).keys() == {f"{CONTAINER}.volumes[0]"}

    def test_which_side_is_wrong_is_told(self) -> None:
        assert "the source is no absolute path" in next(iter(refused(job(container(volumes=["a:/b"]))).values()))
        assert "the target is no absolute path" in next(iter(refused(job(container(volumes=["/a:b"]))).values()))

    @pytest.mark.parametrize(
        ("volume", "path"),
        [
            ({"mountPath": "/mnt/x"}, ""),
            ({"gcs": {"remotePath": "b"}}, ".mountPath"),
            ({"gcs": {"remotePath": "b"}, "mountPath": "mnt"}, ".mountPath"),
            ({"gcs": {"remotePath": "gs://b"}, "mountPath": "/mnt/x"}, ".gcs.remotePath"),
            ({"deviceName": "nowhere", "mountPath": "/mnt/x"}, ".deviceName"),
        ],
    )
    def test_a_tasks_volume_exists_and_has_a_place(self, volume: dict[str, Any], path: str) -> None:
        assert refused(job(task={"volumes": [volume]})).keys() == {f"{TASK}.volumes[0]{path}"}

    @pytest.mark.parametrize(
        "instance",
        [
            {"policy": "{{ x }}"},
            {"policy": {"disks": "{{ x }}"}},
            {"policy": {"disks": [{"deviceName": "{{ x }}"}]}},
            {"instanceTemplate": "{{ x }}"},
        ],
    )
    def test_a_template_may_bring_it_too(self, instance: dict[str, Any]) -> None:
        written = job(
            task={"volumes": [{"deviceName": "d", "mountPath": "/mnt/x"}]}, allocationPolicy={"instances": [instance]}
        )
        assert findings(written, templated_ok=True) == []

    def test_an_instance_template_may_bring_the_disk(self) -> None:
        written = job(
            task={"volumes": [{"deviceName": "d", "mountPath": "/mnt/x"}]},
            allocationPolicy={"instances": [{"instanceTemplate": "t"}]},
        )
        assert findings(written) == []


class TestLogs:
    def test_logs_in_a_file_are_not_seen_here(self) -> None:
        written = job(logsPolicy={"destination": "PATH", "logsPath": "/mnt/logs"})
        assert "not seen in the task log" in warned(written)["job.logsPolicy.destination"]

    def test_a_path_is_needed_for_it(self) -> None:
        found = {f.path: f.verdict for f in findings(job(logsPolicy={"destination": "PATH"}))}
        assert found["job.logsPolicy.logsPath"] is Verdict.BROKEN
