"""A whole job looked at: its own rules, its images, and what is not known yet. The registry is a real local one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import small_images as make
from job_rules import IMAGE, container, job
from writable_registry import WritableRegistry

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.services.scan_job import JobScan, job_table, scan_job

NAME = IMAGE.partition(":")[0]
A = make.tar({"a": b"1"})
IN_ONE_ZONE = {"location": {"allowedLocations": ["zones/us-central1-a"]}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path_factory.mktemp("registry")) as one:
        one.put(NAME, make.image([A]), "1.0")
        one.put(NAME, make.image([A, A]), "twice")
        yield one


def look(registry: WritableRegistry, written: Any, *, region: str = "us-central1", machine_type: str = "") -> JobScan:
    text = written if isinstance(written, str) else json.dumps(written)
    endpoint = Endpoint.local(registry.address)
    return asyncio.run(scan_job(text, name="job.json", region=region, endpoint=endpoint, machine_type=machine_type))


def only(found: JobScan, rule: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.rule == rule]
    return finding


class TestImages:
    def test_each_that_is_to_be_streamed_is_scanned_once(self, registry: WritableRegistry) -> None:
        twice = container(imageUri=f"{NAME}:twice")
        found = look(registry, job(container(), container(), twice))
        assert [(scan.asked, scan.verdict) for scan in found.scans] == [
            (IMAGE, Verdict.HOLDS),
            (f"{NAME}:twice", Verdict.BROKEN),
        ]
        assert (found.findings, found.verdict) == ((), Verdict.BROKEN)

    def test_a_location_is_told_once_by_the_scan(self, registry: WritableRegistry) -> None:
        found = look(registry, job(), region="europe-west1")
        assert found.findings == ()
        assert found.scans[0].verdict is Verdict.BROKEN

    def test_one_that_is_not_there_is_a_broken_rule(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(imageUri=f"{NAME}:none")))
        assert [f.rule for f in found.scans[0].findings if f.verdict is Verdict.BROKEN] == ["image-exists"]

    def test_one_whose_name_is_none_is_a_finding_of_the_job(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(imageUri="us-docker.pkg.dev/PROJECT_ID/r/i:1"), container()))
        assert only(found, "placeholder").path == "job.json.taskGroups[0].taskSpec.runnables[0].container.imageUri"
        assert [scan.asked for scan in found.scans] == [IMAGE]

    def test_one_that_is_a_template_could_not_be_told(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(imageUri="{{ params.image }}")))
        assert only(found, "image-known").verdict is found.verdict is Verdict.UNKNOWN

    def test_a_job_whose_containers_are_a_template_could_not_be_told(self, registry: WritableRegistry) -> None:
        found = look(registry, {"taskGroups": "{{ params.groups }}"})
        assert only(found, "image-known").verdict is found.verdict is Verdict.UNKNOWN

    def test_a_job_that_streams_nothing_does_not_stream(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(enableImageStreaming=False)))
        assert only(found, "streaming-asked").verdict is Verdict.BROKEN
        assert found.scans == ()

    def test_an_empty_name_is_not_taken_for_streaming_switched_off(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(imageUri="")))
        assert (found.verdict, found.scans) == (Verdict.BROKEN, ())
        assert "streaming-asked" not in {finding.rule for finding in found.findings}


class TestTheJob:
    def test_the_machine_type_decides_the_platform(self, registry: WritableRegistry) -> None:
        written = job(allocationPolicy={"instances": [{"policy": {"machineType": "c4a-standard-8"}}]})
        assert look(registry, written).verdict is Verdict.BROKEN
        assert look(registry, written, machine_type="e2-small").verdict is Verdict.HOLDS

    @pytest.mark.parametrize("tag", ["1.0", "arm"])
    def test_an_instance_template_leaves_the_platform_untold(self, registry: WritableRegistry, tag: str) -> None:
        registry.put(NAME, make.image([A], architecture="arm64"), "arm")
        written = job(
            container(imageUri=f"{NAME}:{tag}"), allocationPolicy={"instances": [{"instanceTemplate": "mine"}]}
        )
        (scan,) = look(registry, written).scans
        (platform,) = [finding for finding in scan.findings if finding.rule == "image-platform"]
        assert scan.verdict is platform.verdict is Verdict.UNKNOWN
        assert "instance template" in platform.says and scan.pinned
        settled = look(registry, written, machine_type="c4a-standard-8").verdict
        assert settled is (Verdict.HOLDS if tag == "arm" else Verdict.BROKEN)

    def test_a_machine_that_is_a_template_is_passed_over(self, registry: WritableRegistry) -> None:
        for policy in ("{{ x }}", {"instances": "{{ x }}"}, {"instances": [{"policy": {"machineType": "{{ x }}"}}]}):
            assert look(registry, job(allocationPolicy=policy)).verdict is Verdict.HOLDS

    def test_its_only_region_is_taken_where_none_is_given(self, registry: WritableRegistry) -> None:
        found = look(registry, job(allocationPolicy=IN_ONE_ZONE), region="")
        assert (found.region, found.verdict) == ("us-central1", Verdict.HOLDS)
        assert look(registry, job(), region="").verdict is Verdict.UNKNOWN

    def test_containers_hidden_in_scripts_are_pointed_out(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(), {"script": {"text": "docker run busybox"}}))
        assert only(found, "hidden-container").verdict is found.verdict is Verdict.WARNING

    def test_a_boot_disk_is_compared_with_all_images(self, registry: WritableRegistry) -> None:
        """No image of the tests is large: a disk that the system fills stands for one that is too small."""
        disk = {"sizeGb": "7"}
        written = job(allocationPolicy={"instances": [{"policy": {"bootDisk": disk}}]})
        assert look(registry, written).verdict is Verdict.HOLDS
        disk["sizeGb"] = "6"
        found = look(registry, written)
        assert (found.verdict, only(found, "boot-disk-room").path) == (
            Verdict.WARNING,
            "job.json.allocationPolicy.instances[0].policy.bootDisk.sizeGb",
        )

    def test_yaml_is_read(self, registry: WritableRegistry) -> None:
        text = f"taskGroups:\n- taskSpec:\n    runnables:\n    - container: {{imageUri: '{IMAGE}'}}\n"
        assert look(registry, text).verdict is Verdict.HOLDS

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"taskGroups": [{"taskSpecs": {}}]}'])
    def test_what_is_no_job_is_an_error(self, registry: WritableRegistry, text: str) -> None:
        with pytest.raises(InvalidInput, match=r"^The job was not scanned, "):
            look(registry, text)


class TestWhatIsShown:
    def test_the_jobs_findings_with_their_places_then_each_scan(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(imageUri=f"{NAME}:twice"), {"script": {"text": "podman run x"}}))
        lines = job_table(found)
        assert lines[:3] == ["Job       job.json", "Region    us-central1", "Images    1 image to stream"]
        assert "job.json.taskGroups[0].taskSpec.runnables[1].script.text: starts" in "\n".join(lines)
        assert lines[-3:] == [
            "Verdict   does not stream: 1 rule is broken.",
            "",
            "Together  does not stream: 1 rule is broken.",
        ]
        assert max(map(len, lines)) <= 100

    def test_json_has_the_same(self, registry: WritableRegistry) -> None:
        found = look(registry, job(container(), {"script": {"text": "podman run x"}}))
        plain = json.loads(json.dumps(found.as_dict()))
        assert (plain["job"], plain["region"], plain["verdict"]) == ("job.json", "us-central1", "warning")
        assert [finding["rule"] for finding in plain["findings"]] == ["hidden-container"]
        assert [image["image"] for image in plain["images"]] == [IMAGE]
