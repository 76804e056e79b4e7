"""Section by section what bad input gets: each row as a job, the finding's path, and the words that help."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_rules import CONTAINER, DATA, IMAGE, TASK, container, findings, job, refused, warned

from airflow_batchstream.core.jobs.identity import job_id, labels
from airflow_batchstream.core.jobs.model import Owner
from airflow_batchstream.core.jobs.rules import check
from airflow_batchstream.core.jobs.schema import conform
from airflow_batchstream.core.jobs.spec import Short, build, fill


class TestJobsThatAreFine:
    def test_a_small_one(self) -> None:
        assert findings(job()) == []

    def test_googles_page_with_its_placeholders_filled(self) -> None:
        text = (DATA / "google_image_streaming.json").read_text()
        for name, value in {
            "LOCATION": "us",
            "PROJECT_ID": "my-project",
            "REPOSITORY": "r",
            "IMAGE": "i",
            "TAG": "1",
        }.items():
            text = text.replace(name, value, 1)
        assert findings(json.loads(text)) == []

    def test_a_plain_job_from_docker_hub(self) -> None:
        written = job(container(imageUri="python:3.12", options="--network host", blockExternalNetwork=True))
        assert findings(written, streaming=False) == []

    def test_a_job_whose_containers_all_say_no(self) -> None:
        assert findings(job(container(imageUri="busybox", enableImageStreaming=False, options="-t"))) == []

    def test_a_rich_one(self) -> None:
        written = job(
            container(volumes=["/mnt/disks/data:/data:ro", "/mnt/disks/ssd:/scratch"], commands=["a b", "${X} <y>"]),
            {"barrier": {}},
            {"script": {"text": "true"}, "alwaysRun": True, "labels": {"step": "last"}},
            task={
                "volumes": [
                    {"gcs": {"remotePath": "bucket/dir"}, "mountPath": "/mnt/disks/data"},
                    {"deviceName": "ssd", "mountPath": "/mnt/disks/ssd"},
                ],
                "maxRetryCount": 3,
                "lifecyclePolicies": [{"action": "RETRY_TASK", "actionCondition": {"exitCodes": [50001]}}],
                "maxRunDuration": "3600s",
            },
            group={"taskCount": 2, "taskEnvironments": [{"variables": {"A": "1"}}, {"variables": {"A": "2"}}]},
            labels={"team": "data", "größe": "äöü"},
            priority=99,
            allocationPolicy={
                "instances": [
                    {
                        "policy": {
                            "machineType": "g2-standard-4",
                            "disks": [{"newDisk": {"sizeGb": 375, "type": "local-ssd"}, "deviceName": "ssd"}],
                        },
                        "installGpuDrivers": True,
                    }
                ],
                "location": {"allowedLocations": ["zones/us-central1-a", "regions/us-central1"]},
                "network": {
                    "networkInterfaces": [
                        {
                            "network": "global/networks/n",
                            "subnetwork": "regions/us-central1/subnetworks/s",
                            "noExternalIpAddress": True,
                        }
                    ]
                },
                "serviceAccount": {"email": "a@my-project.iam.gserviceaccount.com"},
            },
        )
        assert findings(written, project_id="example.com:my-project", job_id="a-1") == []


class TestFieldsThatImageStreamingIgnores:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("options", "--network host"), ("username", "u"), ("password", "geheim"), ("blockExternalNetwork", True)],
    )
    def test_they_are_refused(self, field: str, value: Any) -> None:
        found = refused(job(container(**{field: value})))
        assert found.keys() == {f"{CONTAINER}.{field}"}
        assert "silently ignores it" in found[f"{CONTAINER}.{field}"]
        assert "enable_image_streaming=False" in found[f"{CONTAINER}.{field}"]

    def test_that_a_container_would_have_a_network_is_said(self) -> None:
        assert (
            "would have a network"
            in refused(job(container(blockExternalNetwork=True)))[f"{CONTAINER}.blockExternalNetwork"]
        )

    def test_a_password_is_not_shown(self) -> None:
        written = job(container(password="geheim", options="--env TOKEN=geheim"))
        assert "geheim" not in json.dumps([f.as_dict() for f in findings(written)])

    def test_zeros_that_to_dict_prints_are_no_values(self) -> None:
        printed = {
            "options": "",
            "username": "",
            "password": "",
            "blockExternalNetwork": False,
            "enableImageStreaming": False,
        }
        assert findings(job(container(**printed))) == []


class TestImages:
    @pytest.mark.parametrize(
        ("uri", "words"),
        [
            ("python:3.12", "docker.io"),
            ("ghcr.io/owner/image:1", "ghcr.io"),
            ("gcr.io/my-project/image:1", "us-docker.pkg.dev/my-project/gcr.io/image:1"),
            ("eu.gcr.io/my-project/image", "europe-docker.pkg.dev/my-project/eu.gcr.io/image"),
            ("europe-docker.pkg.dev/p/r/i:1", "does not contain the job's region us-central1"),
            ("us-east1-docker.pkg.dev/p/r/i:1", "does not contain the job's region us-central1"),
            ("us-docker.pkg.dev/p/r", "names no image"),
        ],
    )
    def test_one_that_cannot_be_streamed_there_is_refused_with_the_way_out(self, uri: str, words: str) -> None:
        found = refused(job(container(imageUri=uri)))[f"{CONTAINER}.imageUri"]
        assert words in found

    @pytest.mark.parametrize("uri", ["python:3.12", "gcr.io/p/i:1"])
    def test_the_line_that_makes_it_a_plain_job_is_told(self, uri: str) -> None:
        assert "enable_image_streaming=False" in refused(job(container(imageUri=uri)))[f"{CONTAINER}.imageUri"]

    @pytest.mark.parametrize(
        ("uri", "region", "is_refused"),
        [
            ("us-docker.pkg.dev/p/r/i", "us-west4", False),
            ("europe-docker.pkg.dev/p/r/i", "europe-west1", False),
            ("europe-docker.pkg.dev/p/r/i", "europe-west2", True),
            ("europe-docker.pkg.dev/p/r/i", "europe-west6", True),
            ("asia-docker.pkg.dev/p/r/i", "asia-east1", False),
            ("asia-docker.pkg.dev/p/r/i", "us-east1", True),
            ("us-west1-docker.pkg.dev/p/r/i", "us-west1", False),
            ("us-docker.pkg.dev/example.com/p/r/i:1", "us-west1", False),
        ],
    )
    def test_multi_regions_contain_what_they_contain(self, uri: str, region: str, is_refused: bool) -> None:
        assert bool(refused(job(container(imageUri=uri)), region=region)) is is_refused

    def test_where_it_is_not_known_it_is_a_warning(self) -> None:
        found = warned(job(container(imageUri="us-docker.pkg.dev/p/r/i")), region="us-newplace9")
        assert "is not known here" in found[f"{CONTAINER}.imageUri"]

    @pytest.mark.parametrize(
        ("uri", "words"),
        [
            ("LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE:TAG", "LOCATION, PROJECT_ID, REPOSITORY, IMAGE, TAG"),
            ("us-docker.pkg.dev/PROJECT-ID/repo/image:TAG", "PROJECT-ID, TAG"),
            ("us-docker.pkg.dev/p/r/i:TAG", "TAG"),
        ],
    )
    @pytest.mark.parametrize("streaming", [True, False])
    def test_placeholders_of_googles_pages_are_told(self, uri: str, words: str, streaming: bool) -> None:
        found = refused(job(container(imageUri=uri)), streaming=streaming)[f"{CONTAINER}.imageUri"]
        assert f"still holds placeholders: {words}." in found

    @pytest.mark.parametrize("streaming", [True, False])
    @pytest.mark.parametrize("uri", ["", "  ", "https://us-docker.pkg.dev/p/r/i", "us-docker.pkg.dev/p/r/i:1:2", "a b"])
    def test_what_is_no_image_name_is_refused_in_any_job(self, uri: str, streaming: bool) -> None:
        assert refused(job(container(imageUri=uri)), streaming=streaming).keys() == {f"{CONTAINER}.imageUri"}

    def test_upper_case_that_is_no_placeholder_is_told_as_such(self) -> None:
        found = refused(job(container(imageUri="us-docker.pkg.dev/p/r/MyImage:V1")))[f"{CONTAINER}.imageUri"]
        assert "upper-case" in found

    def test_a_container_without_an_image_is_refused(self) -> None:
        assert "no image is named" in refused(job({"container": {}}))[f"{CONTAINER}.imageUri"]


class TestStreamedAndPlainContainers:
    @pytest.mark.parametrize("flags", [[None, False], [True, False], [False, True]])
    def test_in_one_job_they_are_refused(self, flags: list[bool | None]) -> None:
        runnables = [container(**({} if flag is None else {"enableImageStreaming": flag})) for flag in flags]
        plain = flags.index(False)
        found = refused(job(*runnables))
        assert found.keys() == {f"{TASK}.runnables[{plain}].container.enableImageStreaming"}
        assert "Stream both" in next(iter(found.values()))

    def test_a_plain_job_mixes_nothing(self) -> None:
        written = job(container(enableImageStreaming=True), container(enableImageStreaming=False))
        assert findings(written, streaming=False) == []

    @pytest.mark.parametrize("runnable", [{"script": {"text": "x"}}, {"barrier": {}}])
    def test_nothing_to_stream_is_refused(self, runnable: dict[str, Any]) -> None:
        assert "nothing to stream" in refused(job(runnable))[f"{TASK}.runnables"]
        assert findings(job(runnable), streaming=False) == []


class TestWhereAJobRuns:
    @pytest.mark.parametrize("project", [None, ""])
    def test_a_missing_project_is_refused(self, project: str | None) -> None:
        assert "no project is given" in refused(job(), project_id=project)["project_id"]

    @pytest.mark.parametrize("project", ["My Project", "PROJECT_ID", "my_project", "-a", "a/b", "${PROJECT}"])
    def test_what_is_no_project_is_refused(self, project: str) -> None:
        assert "is no project id" in refused(job(), project_id=project)["project_id"]

    @pytest.mark.parametrize("project", ["my-project-123", "example.com:my-project", "123456789", "p"])
    def test_what_is_one_is_not(self, project: str) -> None:
        assert findings(job(), project_id=project) == []

    @pytest.mark.parametrize(
        ("region", "words"),
        [
            (None, "Give region=, such as region='us-central1'."),
            ("", "Give region=, such as region='us-central1'."),
            ("us-central1-a", "is a zone, and a Batch job runs in a region. Write us-central1;"),
            ("us", "is a multi-region of Artifact Registry"),
            ("us-central", "Did you mean us-central1?"),
            ("US-CENTRAL1", "Write us-central1."),
            ("here", "Write a region such as us-central1."),
        ],
    )
    def test_a_missing_or_wrong_region_is_refused(self, region: str | None, words: str) -> None:
        found = check(job(), project_id="p", region=region, job_id=None, streaming=False)
        assert [f.path for f in found] == ["region"]
        assert words in str(found[0])

    @pytest.mark.parametrize(
        ("given", "better"),
        [
            ("My_Job", "'my-job'"),
            ("1st", "'job-1st'"),
            ("job-", "'job'"),
            ("a" * 64, f"'{'a' * 63}'"),
            ("my job", "'my-job'"),
            ("-x", "'x'"),
            ("ä", "'job'"),
        ],
    )
    def test_a_job_id_that_batch_refuses_is_refused_with_one_it_takes(self, given: str, better: str) -> None:
        found = refused(job(), job_id=given)["job_id"]
        assert f"Write {better}" in found
        assert findings(job(), job_id=better.strip("'")) == []

    def test_one_that_is_too_long_is_told_so(self) -> None:
        assert "has 64 characters, and Batch takes 63" in refused(job(), job_id="a" * 64)["job_id"]
        assert "no dash last" in refused(job(), job_id="a-")["job_id"]

    @pytest.mark.parametrize("place", ["regions/us-central1", "projects/p/zones/us-central1-a"])
    def test_places_in_it_are_fine_as_urls_too(self, place: str) -> None:
        url = f"https://www.googleapis.com/compute/v1/{place}"
        assert findings(job(allocationPolicy={"location": {"allowedLocations": [place, url]}})) == []

    @pytest.mark.parametrize(
        ("place", "words"),
        [
            ("regions/us-east1", "is not in us-central1"),
            ("zones/us-east1-b", "is not in us-central1"),
            ("us-central1", "Write regions/us-central1."),
            ("us-central1-a", "Write zones/us-central1-a."),
            ("regions/us-central1-a", "Write zones/us-central1-a."),
            ("zones/us-central1", "Write regions/us-central1."),
            ("anywhere", "Write regions/us-central1."),
        ],
    )
    def test_allowed_locations_lie_in_the_jobs_region(self, place: str, words: str) -> None:
        written = job(allocationPolicy={"location": {"allowedLocations": ["zones/us-central1-b", place]}})
        assert words in refused(written)["job.allocationPolicy.location.allowedLocations[1]"]


class TestLabels:
    @pytest.mark.parametrize("key", ["goog-x", "google-y"])
    @pytest.mark.parametrize("where", ["job", "job.allocationPolicy", f"{TASK}.runnables[0]"])
    def test_what_google_reserves_is_refused(self, key: str, where: str) -> None:
        written = job()
        places = {
            "job": written,
            "job.allocationPolicy": written.setdefault("allocationPolicy", {}),
            f"{TASK}.runnables[0]": written["taskGroups"][0]["taskSpec"]["runnables"][0],
        }
        places[where]["labels"] = {key: "x"}
        assert "which Google reserves" in refused(written)[f"{where}.labels.{key}"]

    @pytest.mark.parametrize(
        "key", [f"batchstream-{x}" for x in ("id", "task", "spec", "scan", "digest", "bytes", "new")]
    )
    def test_those_by_which_a_retry_finds_its_job_are_ours(self, key: str) -> None:
        assert "Leave it out" in refused(job(labels={key: "x"}))[f"job.labels.{key}"]

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("Team", "x", "Write 'team'."),
            ("1st", "x", "Write 'st'."),
            ("a.b", "x", "Write 'a_b'."),
            ("a" * 64, "x", f"Write '{'a' * 63}'."),
            ("a", "Data Team", "Write 'data_team'."),
            ("a", "x" * 64, f"Write '{'x' * 63}'."),
            ("123", "x", "Name it otherwise."),
        ],
    )
    def test_wrong_characters_are_refused_with_right_ones(self, key: str, value: str, words: str) -> None:
        assert words in refused(job(labels={key: value}))[f"job.labels.{key}"]

    def test_there_is_room_for_ours(self) -> None:
        assert findings(job(labels={f"l{i}": "x" for i in range(61)})) == []
        found = refused(job(labels={f"l{i}": "x" for i in range(63)}))["job.labels"]
        assert "3 of them needed to find the job again" in found
        assert "Leave out 2." in found
        machines = {"labels": {f"l{i}": "x" for i in range(65)}}
        assert "find the job" not in refused(job(allocationPolicy=machines))["job.allocationPolicy.labels"]
        assert findings(job(allocationPolicy={"labels": {f"l{i}": "x" for i in range(64)}})) == []


class TestTemplates:
    everything: ClassVar[Any] = {
        "taskGroups": [
            {
                "taskCount": "{{ x }}",
                "parallelism": "{{ x }}",
                "taskEnvironments": "{{ x }}",
                "taskSpec": {
                    "maxRetryCount": "{{ x }}",
                    "maxRunDuration": "{{ x }}",
                    "lifecyclePolicies": [{"action": "{{ x }}"}],
                    "volumes": [
                        {"deviceName": "{{ x }}", "mountPath": "{{ x }}"},
                        {"gcs": "{{ x }}", "mountPath": "{{ x }}"},
                    ],
                    "runnables": [
                        {
                            "container": {
                                "imageUri": "{{ x }}",
                                "options": "{{ x }}",
                                "enableImageStreaming": "{{ x }}",
                                "volumes": ["{{ x }}"],
                            },
                            "labels": "{{ x }}",
                        },
                        "{{ x }}",
                        {"script": "{{ x }}"},
                    ],
                },
            }
        ],
        "allocationPolicy": {
            "instances": [{"policy": {"machineType": "{{ x }}", "accelerators": "{{ x }}", "disks": "{{ x }}"}}],
            "location": {"allowedLocations": ["{{ x }}"]},
            "network": {"networkInterfaces": [{"network": "{{ x }}", "noExternalIpAddress": "{{ x }}"}]},
            "serviceAccount": {"email": "{{ x }}"},
        },
        "labels": {"a": "{{ x }}"},
        "logsPolicy": {"destination": "{{ x }}"},
        "priority": "{{ x }}",
    }

    def test_nothing_is_said_of_what_is_rendered_later(self) -> None:
        how = {"project_id": "{{ x }}", "region": "{{ x }}", "job_id": "{{ x }}"}
        assert findings(self.everything, templated_ok=True, **how) == []
        assert findings(self.everything, templated_ok=True, project_id=None, region=None) == []

    @pytest.mark.parametrize(
        "written",
        [
            {"taskGroups": "{{ x }}"},
            {"taskGroups": ["{{ x }}"]},
            {"taskGroups": [{"taskSpec": "{{ x }}"}]},
            {"taskGroups": [{"taskSpec": {"runnables": "{{ x }}"}}]},
            {"taskGroups": [{"taskSpec": {"runnables": ["{{ x }}", {"script": {"text": "x"}}]}}]},
            {"taskGroups": [{"taskSpec": {"runnables": [{"container": "{{ x }}"}]}}], "labels": "{{ x }}"},
            job(allocationPolicy="{{ x }}", logsPolicy="{{ x }}"),
        ],
    )
    def test_nor_where_a_template_stands_for_the_structure(self, written: dict[str, Any]) -> None:
        assert findings(written, templated_ok=True) == []

    def test_all_the_rest_is_said(self) -> None:
        written = job(
            container(imageUri="{{ x }}", options="-t"), group={"taskCount": -1}, labels={"goog-a": "{{ x }}"}
        )
        found = refused(written, templated_ok=True, region="us-central1-a", project_id=None)
        assert found.keys() == {"region", f"{CONTAINER}.options", "job.taskGroups[0].taskCount", "job.labels.goog-a"}


class TestWhatWeMakeOurselves:
    def test_findings_of_a_file_name_the_file(self) -> None:
        found = check({}, project_id="p", region=None, job_id=None, streaming=True, path="job.json")
        assert [f.path for f in found] == ["region", "job.json.taskGroups"]

    @given(st.text(min_size=1, max_size=99), st.text(min_size=1, max_size=99), st.integers(-1, 99))
    def test_our_labels_and_ids_keep_the_rules(self, dag_id: str, task_id: str, map_index: int) -> None:
        owner = Owner(dag_id, "r", task_id, map_index, 0, "")
        assert findings(job(), job_id=job_id(owner, 1)) == []
        mine = {key: value for key, value in labels(owner).items() if not key.startswith("batchstream-")}
        assert findings(job(labels=mine)) == []

    def test_a_filled_job_breaks_nothing(self) -> None:
        spec, _ = build(None, Short(image_uri=IMAGE))
        filled = fill(spec, streaming=True, labels={"airflow-dag-id": "d"})
        assert findings(filled) == []

    @settings(max_examples=200, deadline=None)
    @given(
        st.recursive(
            st.sampled_from(["{{ x }}", "x", "", 0, 7, True, None]),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["container", "script", "policy", "labels", "imageUri"]), inner, max_size=3
                )
            ),
            max_leaves=6,
        ),
        st.sampled_from(["taskGroups", "taskSpec", "runnables", "allocationPolicy", "instances", "networkInterfaces"]),
        st.booleans(),
    )
    def test_no_form_of_a_job_makes_a_rule_fail(self, part: Any, at: str, templated_ok: bool) -> None:
        """What the schema let through is answered with findings, never with another exception."""
        shapes = {
            "taskGroups": {"taskGroups": part},
            "taskSpec": {"taskGroups": [{"taskSpec": part}]},
            "runnables": {"taskGroups": [{"taskSpec": {"runnables": part}}]},
            "allocationPolicy": job(allocationPolicy=part),
            "instances": job(allocationPolicy={"instances": part}),
            "networkInterfaces": job(allocationPolicy={"network": {"networkInterfaces": part}}),
        }
        spec, _ = conform(shapes[at], templated_ok=templated_ok)
        check(spec, project_id="p", region="us-central1", job_id=None, streaming=True, templated_ok=templated_ok)
