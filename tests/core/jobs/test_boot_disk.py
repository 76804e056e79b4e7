"""The images look as if they fit the boot disk: an estimate, with nothing said of what is not known."""

from __future__ import annotations

from typing import Any

import pytest
from job_rules import INSTANCE, TASK, job

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.boot_disk import boot_disk_room

GIB = 2**30
SIZE = f"{INSTANCE}.policy.bootDisk.sizeGb"
EXTRA = f"{TASK}.computeResource.bootDiskMib"


def with_disk(mib: Any = None, group: Any = None, **boot: Any) -> dict[str, Any]:
    policy = {"bootDisk": boot} if boot else {}
    resource = {} if mib is None else {"computeResource": {"bootDiskMib": mib}}
    return job(task=resource, group=group, allocationPolicy={"instances": [{"policy": policy}]})


def room(written: dict[str, Any], compressed: int) -> list[Finding]:
    return list(boot_disk_room(written, compressed))


class TestADiskOfASizeOfItsOwn:
    def test_is_the_whole_disk_and_the_system_is_on_it(self) -> None:
        (found,) = room(with_disk(sizeGb="30"), 8 * GIB + 1)
        assert (found.rule, found.verdict, found.path, found.value) == (
            "boot-disk-room",
            Verdict.WARNING,
            SIZE,
            "30",
        )
        assert found.says.startswith("is 30 GB: some 24.0 GB are free, and the images are some 24.0 GB unpacked")
        assert "an estimate of 3 times their compressed size" in found.says
        assert found.remedy == "Set it to 31 or more."
        assert room(with_disk(sizeGb="30"), 8 * GIB) == []

    def test_is_large_enough_once_the_advice_is_taken(self) -> None:
        (found,) = room(with_disk(sizeGb="40"), 77 * GIB)
        assert found.remedy == "Set it to 237 or more."
        assert room(with_disk(sizeGb="237"), 77 * GIB) == []

    def test_wins_over_what_the_tasks_add(self) -> None:
        assert [found.path for found in room(with_disk("999999", sizeGb="30"), 9 * GIB)] == [SIZE]

    def test_counts_whatever_the_vm_image(self) -> None:
        assert room(with_disk(sizeGb="30", image="projects/p/global/images/mine"), 9 * GIB)

    def test_smaller_than_the_system_has_nothing_free(self) -> None:
        assert "some 0.0 GB are free" in room(with_disk(sizeGb="1"), 1)[0].says


class TestADiskThatTheJobDoesNotSize:
    @pytest.mark.parametrize(
        "written",
        [
            job(),
            job(allocationPolicy={}),
            job(allocationPolicy={"instances": []}),
            with_disk(),
            with_disk(sizeGb="0"),
            with_disk(mib="0"),
            with_disk(image="batch-debian", type="pd-ssd"),
        ],
    )
    def test_is_as_large_as_the_vm_image_of_batch_s_own(self, written: dict[str, Any]) -> None:
        (found,) = room(written, 9 * GIB)
        assert found.path == SIZE
        assert found.says.startswith("is not set, and Batch's own VM images have 30 GB or so: some 24.0 GB are free")
        assert found.remedy == "Set it to 33 or more."
        assert room(written, 8 * GIB) == []

    @pytest.mark.parametrize(
        "written",
        [
            with_disk(image="projects/p/global/images/mine"),
            with_disk(image="{{ x }}"),
            with_disk(sizeGb="{{ x }}"),
            with_disk(mib="{{ x }}"),
            with_disk(mib="1024", group={"taskCount": "{{ x }}"}),
            job(allocationPolicy="{{ x }}"),
            job(allocationPolicy={"instances": "{{ x }}"}),
            job(allocationPolicy={"instances": ["{{ x }}"]}),
            job(allocationPolicy={"instances": [{"policy": "{{ x }}"}]}),
            job(allocationPolicy={"instances": [{"policy": {"bootDisk": "{{ x }}"}}]}),
            job(allocationPolicy={"instances": [{"instanceTemplate": "mine"}]}),
        ],
    )
    def test_is_not_judged_where_it_is_not_known(self, written: dict[str, Any]) -> None:
        assert room(written, 900 * GIB) == []

    def test_is_not_judged_for_images_whose_size_nobody_knows(self) -> None:
        assert room(with_disk(), 0) == room(with_disk(sizeGb="1"), 0) == []


class TestWhatTheTasksAdd:
    def test_comes_on_top_of_the_vm_image(self) -> None:
        (found,) = room(with_disk("10240"), 12 * GIB)
        assert (found.path, found.value) == (EXTRA, "10240")
        assert found.says.startswith("adds 10.0 GB to the 30 GB or so of Batch's own VM images: some 34.0 GB are free")
        assert found.remedy == f"Set {SIZE}, which counts in its place, to 42 or more."
        assert room(with_disk("10240"), 11 * GIB) == []

    @pytest.mark.parametrize(
        ("group", "sharing"),
        [
            ({}, 1),
            ({"taskCount": "4"}, 4),  # as many as may be at a time: nobody knows how many Batch puts on a VM
            ({"taskCount": "4", "parallelism": "2"}, 2),
            ({"taskCount": "100", "taskCountPerNode": "3"}, 3),
            ({"taskCount": "2", "taskCountPerNode": "3"}, 2),
            ({"taskCount": "0"}, 1),
            ({"taskEnvironments": [{}, {}, {}], "parallelism": "0"}, 3),
        ],
    )
    def test_comes_once_for_each_task_that_may_share_the_vm(self, group: dict[str, Any], sharing: int) -> None:
        free = 24 + 10 * sharing
        fits = free * GIB // 3
        assert room(with_disk("10240", group), fits) == []
        (found,) = room(with_disk("10240", group), fits + 1)
        assert f"some {free}.0 GB are free" in found.says
        assert (f"for each of {sharing} tasks" in found.says) is (sharing > 1)
