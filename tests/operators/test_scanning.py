"""A job's own look at its images, on a local Batch: digest and verdict into the job, its labels and XCom, and back."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, chain
from airflow.sdk.definitions.param import ParamsDict
from odd_images import empty_tar, with_layer
from small_images import tar

from airflow_batchstream.core.errors import ImageRefused, InvalidInput, JobFailed
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.jobs import identity
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.layout import Layout
from airflow_batchstream.emulator.images.push import push
from airflow_batchstream.emulator.testing import Local, running
from airflow_batchstream.operators.images import SCAN_KEY, ImageScanOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException

IMAGE = "europe-docker.pkg.dev/test-project/repo/tool"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Layout]:
    """Two that stream, one with an empty layer, and one with a layer that is small enough to be looked into."""
    found = {}
    for word in ("one", "two"):
        folder = tmp_path_factory.mktemp(word)
        build(ImageSpec(entrypoint=("sh", "-c"), cmd=(f"echo {word}",)), folder, IMAGE)
        found[word] = Layout(folder)
    odd = tmp_path_factory.mktemp("odd")
    found["empty"] = with_layer(folder, odd / "empty", empty_tar())
    found["small"] = with_layer(folder, odd / "small", tar({"a": b"1"}))
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, images: dict[str, Layout]) -> Iterator[Local]:
    with running(tmp_path_factory.mktemp("scanning"), "--grace", "1") as one:
        push(images["empty"], parse(f"{IMAGE}:empty"), one.address)
        push(images["small"], parse(f"{IMAGE}:small"), one.address)
        yield one


@pytest.fixture
def tag(local: Local, images: dict[str, Layout], monkeypatch: pytest.MonkeyPatch) -> str:
    """A tag of its own that stands for the first image."""
    monkeypatch.setenv("BATCH_EMULATOR_HOST", local.address)
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "google-cloud-platform://")
    name = f"{IMAGE}:t{next(_numbers)}"
    push(images["one"], parse(name), local.address)
    return name


@pytest.fixture
def unreadable(local: Local, tag: str, images: dict[str, Layout]) -> Iterator[None]:
    """The tag's image cannot be read: the registry gives out another config than the manifest names."""
    ours = {path.name for path in (images["one"].folder / "blobs/sha256").iterdir() if b"rootfs" in path.read_bytes()}
    kept = {path: path.read_bytes() for path in local.state_dir.rglob("blobs/sha256/*") if path.name in ours}
    assert kept
    for path, data in kept.items():
        path.write_bytes(data.replace(b"{", b"[", 1))
    yield
    for path, data in kept.items():
        path.write_bytes(data)


class Try(SimpleNamespace):
    """One try of a task, with its XCom."""

    def __init__(self, task_id: str, number: int = 1) -> None:
        super().__init__(id=uuid.uuid4(), dag_id="d", run_id="r", task_id=task_id, map_index=-1, max_tries=1)
        self.try_number, self.xcom = number, dict[str, Any]()

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom[key] = value


def run(ti: Try, **arguments: Any) -> dict[str, Any]:
    given = {"project_id": "test-project", "region": "europe-west4", "wait_for_completion": False} | arguments
    operator = CloudBatchStreamingJobOperator(task_id=ti.task_id, **given)
    context = {"ti": ti, "dag_run": SimpleNamespace(start_date=None), "params": ParamsDict(), "task": operator}
    return operator.execute(context)


def in_batch(local: Local, job: dict[str, Any]) -> dict[str, Any]:
    return local._http("GET", f"/v1/{job['name']}")


def a_task() -> str:
    return f"task-{next(_numbers)}"


class TestANewJob:
    def test_carries_digest_verdict_and_size_of_its_first_image_as_labels(self, local: Local, tag: str) -> None:
        job = run(Try(a_task()), image_uri=tag)
        labels = in_batch(local, job)["labels"]
        assert labels["batchstream-bytes"] == str(look(tag)[1]["compressed_bytes"])
        assert labels["batchstream-scan"] == "holds"
        assert labels["batchstream-digest"] == identity.digest_label(job["digest"])
        assert job["streamed"] == "eligible"

    def test_has_the_same_spec_label_whatever_its_tag_stands_for(
        self, local: Local, tag: str, images: dict[str, Layout]
    ) -> None:
        one = run(Try(a_task()), image_uri=tag)
        push(images["two"], parse(tag), local.address)
        two = run(Try(a_task()), image_uri=tag)
        assert one["digest"] != two["digest"]
        key = "batchstream-spec"
        assert in_batch(local, one)["labels"][key] == in_batch(local, two)["labels"][key]

    def test_without_a_scan_has_no_verdict(self, local: Local, tag: str) -> None:
        job = run(Try(a_task()), image_uri=tag, scan_image=False)
        labels = in_batch(local, job)["labels"]
        assert not {"batchstream-scan", "batchstream-digest", "batchstream-bytes"} & set(labels)
        assert (job["digest"], job["streamed"]) == ("", "requested")

    def test_leaves_out_labels_for_which_there_is_no_room(self, local: Local, tag: str) -> None:
        job = run(Try(a_task()), image_uri=tag, labels={f"l{n}": "x" for n in range(61)})
        labels = in_batch(local, job)["labels"]
        assert len(labels) == 64
        assert "batchstream-id" in labels


class TestARetryThatAdoptsTheJob:
    def test_tells_the_digest_that_runs_though_the_tag_has_moved(
        self, local: Local, tag: str, images: dict[str, Layout]
    ) -> None:
        task = a_task()
        first = run(Try(task), image_uri=tag, commands=["sleep 3"])
        push(images["two"], parse(tag), local.address)
        again = run(Try(task, 2), image_uri=tag, commands=["sleep 3"])
        assert again["uid"] == first["uid"]
        assert again["digest"] == first["digest"]
        assert again["streamed"] == "eligible"

    def test_takes_the_digest_from_the_job_where_no_label_has_it(
        self, local: Local, tag: str, images: dict[str, Layout]
    ) -> None:
        task, given = a_task(), {"image_uri": tag, "labels": {f"l{n}": "x" for n in range(61)}}
        first = run(Try(task), **given, commands=["sleep 3"])
        push(images["two"], parse(tag), local.address)
        again = run(Try(task, 2), **given, commands=["sleep 3"])
        assert again["digest"] == first["digest"]
        assert again["streamed"] == "requested"  # nobody can tell any more

    def test_is_not_refused_for_what_its_tag_stands_for_now(
        self, local: Local, tag: str, images: dict[str, Layout]
    ) -> None:
        task = a_task()
        first = run(Try(task), image_uri=tag, commands=["sleep 3"])
        push(images["empty"], parse(tag), local.address)
        again = run(Try(task, 2), image_uri=tag, commands=["sleep 3"])
        assert (again["uid"], again["digest"]) == (first["uid"], first["digest"])

    def test_judges_by_the_time_as_the_first_try_did(
        self, local: Local, tag: str, images: dict[str, Layout], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The scan's size is made large: as if a large image had streamed."""
        told = look(tag)[1] | {"compressed_bytes": 9_800_000_000}
        given = {"commands": ["sleep 1; echo hello; sleep 1"], "scan_image": False}
        first = After(scan=told)
        job = first.run(told["pinned"], **given)
        assert in_batch(local, job)["labels"]["batchstream-bytes"] == "9800000000"
        again = Try(first.task_id, 2)
        done = run(again, image_uri=told["pinned"], wait_for_completion=True, polling_period_seconds=0.3, **given)
        assert (done["uid"], done["streamed"]) == (job["uid"], "consistent")
        said = capsys.readouterr().out
        assert "adopted, not created again" in said
        assert "downloading 9.8 GB takes about 8 min." in said

    def test_does_not_read_the_image_again(self, local: Local, tag: str, capsys: pytest.CaptureFixture[str]) -> None:
        task = a_task()
        run(Try(task), image_uri=tag, commands=["sleep 3"])
        assert "may be streamed: every rule" in capsys.readouterr().out
        run(Try(task, 2), image_uri=tag, commands=["sleep 3"])
        said = capsys.readouterr().out
        assert "adopted, not created again" in said
        assert "may be streamed: every rule" not in said


class TestARetryAfterAJobThatFailed:
    def test_runs_what_its_tag_stands_for_by_now(self, local: Local, tag: str, images: dict[str, Layout]) -> None:
        task = a_task()
        failing = {"commands": ["exit 3"], "wait_for_completion": True, "polling_period_seconds": 0.3}
        with pytest.raises(JobFailed) as first:
            run(Try(task), image_uri=tag, **failing)
        push(images["two"], parse(tag), local.address)
        again = run(Try(task, 2), image_uri=tag, **failing | {"commands": ["true"]})
        assert (first.value.job["name"][-2:], again["name"][-2:]) == ("-1", "-2")
        assert again["digest"] == look(tag)[1]["digest"] != first.value.job["digest"]
        assert in_batch(local, again)["labels"]["batchstream-digest"] == identity.digest_label(again["digest"])

    def test_is_refused_where_that_breaks_a_rule_by_now(
        self, local: Local, tag: str, images: dict[str, Layout]
    ) -> None:
        task = a_task()
        with pytest.raises(JobFailed):
            run(Try(task), image_uri=tag, commands=["exit 3"], wait_for_completion=True, polling_period_seconds=0.3)
        push(images["empty"], parse(tag), local.address)
        with pytest.raises(AirflowFailException, match="cannot be streamed"):
            run(Try(task, 2), image_uri=tag)


class TestATagThatMoves:
    def test_between_scan_and_run_does_not_matter(
        self, local: Local, tag: str, images: dict[str, Layout], capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = look(tag)[1]
        push(images["two"], parse(tag), local.address)
        After(scan=told).run(told["pinned"], wait_for_completion=True, polling_period_seconds=0.3)
        assert set(re.findall(r"\] (one|two)\b", capsys.readouterr().out)) == {"one"}


class TestABrokenImage:
    def test_is_refused(self, local: Local, tag: str) -> None:
        with pytest.raises(AirflowFailException, match="cannot be streamed"):
            run(Try(a_task()), image_uri=f"{IMAGE}:empty")


class TestFailOn:
    def test_never_runs_what_breaks_a_rule_under_its_digest(self, local: Local, tag: str) -> None:
        job = run(Try(a_task()), image_uri=f"{IMAGE}:empty", scan_fail_on="never")
        assert in_batch(local, job)["labels"]["batchstream-scan"] == "broken"
        assert job["digest"].startswith("sha256:")

    def test_a_registry_without_an_answer_leaves_the_tag_and_warns(
        self, local: Local, tag: str, unreadable: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = run(Try(a_task()), image_uri=tag)
        sent = in_batch(local, job)
        assert sent["labels"]["batchstream-scan"] == "unknown"
        assert sent["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]["imageUri"] == tag
        assert (job["digest"], job["streamed"]) == ("", "unknown")
        assert "the job goes on with the name as it is written" in capsys.readouterr().out

    def test_unknown_refuses_then_and_a_retry_may_help(self, local: Local, tag: str, unreadable: None) -> None:
        with pytest.raises(ImageRefused, match="could not be told"):
            run(Try(a_task()), image_uri=tag, scan_fail_on="unknown")

    @pytest.mark.parametrize("value", ["sometimes", "", None, True])
    def test_another_word_is_refused_when_the_dag_is_parsed(self, value: Any) -> None:
        with pytest.raises(InvalidInput, match=r"scan_fail_on: .* is not among 'broken', 'unknown', 'never'"):
            CloudBatchStreamingJobOperator(task_id="t", image_uri=f"{IMAGE}:1", scan_fail_on=value)
        with pytest.raises(InvalidInput, match=r"No image was looked at.*\n.*fail_on: "):
            ImageScanOperator(task_id="t", image_uri=f"{IMAGE}:1", fail_on=value)

    @pytest.mark.parametrize("value", ["8", None, -1, True, 1.5])
    def test_a_number_of_small_blobs_that_is_none_is_refused_when_the_dag_is_parsed(self, value: Any) -> None:
        with pytest.raises(InvalidInput, match=r"No image was looked at, 1 problem:\n.*max_small_blobs"):
            ImageScanOperator(task_id="t", image_uri=f"{IMAGE}:1", max_small_blobs=value)

    def test_a_template_is_judged_once_rendered(self, local: Local, tag: str) -> None:
        ImageScanOperator(task_id="t", image_uri=tag, fail_on="{{ params.x }}")
        with pytest.raises(AirflowFailException, match="scan_fail_on"):
            run(Try(a_task()), image_uri=tag, scan_fail_on="{{ params.x }}")


def look(image_uri: Any, **arguments: Any) -> tuple[Any, Any]:
    """What a scan task returns, and its XCom ``image_scan``."""
    ti = Try("scan")
    operator = ImageScanOperator(task_id="scan", image_uri=image_uri, **{"region": "europe-west4"} | arguments)
    return operator.execute({"ti": ti}), ti.xcom[SCAN_KEY]


class After(Try):
    """A try of a task behind others, whose XComs it can pull.

    :param left: what each task left under ``image_scan``; an exception is raised.
    """

    def __init__(self, **left: Any) -> None:
        super().__init__(a_task())
        self.left = left
        self.pulled: list[str] = []

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        if key != SCAN_KEY:
            return None
        self.pulled.append(task_ids)
        value = self.left.get(task_ids)
        if isinstance(value, Exception):
            raise value
        return value

    def run(self, image_uri: str, *, gates: Sequence[str] = (), **arguments: Any) -> dict[str, Any]:
        """
        :param gates: tasks between the ones that left something and this one, in a chain.
        """
        with DAG("d", schedule=None):
            operator = CloudBatchStreamingJobOperator(
                task_id=self.task_id,
                image_uri=image_uri,
                **{"project_id": "test-project", "region": "europe-west4", "wait_for_completion": False} | arguments,
            )
            between = [EmptyOperator(task_id=gate) for gate in gates]
            chain(*between, operator)
            for task in self.left:
                EmptyOperator(task_id=task) >> [*between, operator][0]
        context = {"ti": self, "dag_run": SimpleNamespace(start_date=None), "params": ParamsDict(), "task": operator}
        return operator.execute(context)


class TestAnImageHandedOnByAScanTask:
    @pytest.fixture
    def told(self, tag: str) -> dict[str, Any]:
        ti = Try(a_task())
        operator = ImageScanOperator(task_id=ti.task_id, image_uri=tag, region="europe-west4")
        operator.execute({"ti": ti, "params": ParamsDict()})
        found: dict[str, Any] = ti.xcom[SCAN_KEY]
        return found

    @pytest.fixture
    def said(self, told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Any:
        capsys.readouterr()
        return lambda: " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize("form", [lambda one: one, lambda one: [one], lambda one: [[one], None]])
    def test_is_not_read_again_and_the_log_says_who_scanned_it(
        self, local: Local, told: dict[str, Any], said: Any, form: Any
    ) -> None:
        job = After(scan=form(told), other=None).run(told["pinned"])
        text = said()
        assert "is as the task scan scanned it (holds): it is not read again" in text
        assert "may be streamed: every rule" not in text
        assert (job["digest"], job["streamed"]) == (told["digest"], "eligible")
        assert in_batch(local, job)["labels"]["batchstream-scan"] == "holds"

    @pytest.mark.parametrize(
        "other",
        [
            {"region": "europe-west1"},
            {"region": ""},
            {"platform": "linux/arm64"},
            {"verdict": "broken"},
            {"verdict": "?"},
            {"pinned": None},
            {"pinned": ["not a text"], "region": {}},
        ],
    )
    def test_of_another_place_or_machine_or_answer_is(self, told: dict[str, Any], said: Any, other: Any) -> None:
        After(scan=told | other).run(told["pinned"])
        assert "may be streamed: every rule" in said()

    def test_settles_the_platform_of_an_instance_template(self, told: dict[str, Any], said: Any) -> None:
        arm = {"allocationPolicy": {"instances": [{"instanceTemplate": "arm"}]}}
        After(scan=told | {"platform": "linux/arm64"}).run(told["pinned"], job=arm)
        assert "is as the task scan scanned it (holds)" in said()

    def test_that_could_not_be_told_is_read_again_only_where_that_stops_the_job(
        self, told: dict[str, Any], said: Any
    ) -> None:
        unknown = told | {"verdict": "could not be told"}
        After(scan=unknown).run(told["pinned"])
        assert "scanned it (unknown): it is not read again" in said()
        After(scan=unknown).run(told["pinned"], scan_fail_on="unknown")
        assert "may be streamed: every rule" in said()

    @pytest.mark.parametrize("gates", [1, 18, 19])
    def test_may_be_handed_through_gates_and_branches(self, told: dict[str, Any], said: Any, gates: int) -> None:
        """Twenty tasks are asked, the nearest first."""
        ti = After(scan=told)
        ti.run(told["pinned"], gates=[f"gate{n}" for n in range(gates)])
        assert ti.pulled[:2] == [f"gate{gates - 1}", f"gate{gates - 2}" if gates > 1 else "scan"]
        assert "is as the task scan scanned it (holds)" in said()

    def test_is_looked_for_no_further_than_twenty_tasks(self, told: dict[str, Any], said: Any) -> None:
        ti = After(scan=told)
        ti.run(told["pinned"], gates=[f"gate{n}" for n in range(20)])
        assert len(ti.pulled) == 20
        assert "may be streamed: every rule" in said()

    def test_ends_the_search_once_it_is_found(self, told: dict[str, Any], said: Any) -> None:
        ti = After(a_scan=told, b=None, c=None)
        ti.run(told["pinned"])
        assert ti.pulled == ["a_scan"]

    def test_counts_for_the_boot_disk_all_the_same(self, told: dict[str, Any], said: Any) -> None:
        disk = {"allocationPolicy": {"instances": [{"policy": {"bootDisk": {"sizeGb": 30}}}]}}
        large, warned = told | {"compressed_bytes": 20_000_000_000}, "bootDisk.sizeGb: is 30 GB: some 24.0 GB are free"
        After(scan=large).run(told["pinned"], job=disk)
        assert warned in said()
        After(scan=large).run(told["pinned"], job=disk, scan_image=False)
        assert warned in said()
        After(scan=told).run(told["pinned"], job=disk)
        assert "unpacked" not in said()

    def test_by_its_tag_is_read_again(self, told: dict[str, Any], said: Any) -> None:
        ti = After(scan=told)
        ti.run(told["image"])
        assert "may be streamed: every rule" in said()
        assert ti.pulled == []  # nothing that was pulled could help

    @pytest.mark.parametrize("left", [RuntimeError("the API server is gone"), "text", 7, [[[[]]]], {}])
    def test_is_read_again_whatever_goes_wrong(self, told: dict[str, Any], said: Any, left: Any) -> None:
        assert After(scan=left).run(told["pinned"])["digest"] == told["digest"]
        assert "may be streamed: every rule" in said()


class TestAJobWhoseOwnScanIsOff:
    """``scan_image=False``: what a scan task has found is known all the same."""

    @pytest.fixture
    def told(self, tag: str) -> dict[str, Any]:
        found: dict[str, Any] = look(tag)[1]
        return found

    @pytest.mark.parametrize(
        ("verdict", "label", "streamed"),
        [
            ("holds", "holds", "eligible"),
            ("warning", "warning", "eligible"),
            ("broken", "broken", "unknown"),  # fail_on="never": it is not refused here either
            ("could not be told", "unknown", "unknown"),
        ],
    )
    def test_tells_what_the_scan_task_found(
        self, local: Local, told: dict[str, Any], verdict: str, label: str, streamed: str
    ) -> None:
        ti = After(scan=told | {"verdict": verdict})
        job = ti.run(told["pinned"], gates=["gate"], scan_image=False, scan_fail_on="unknown")
        labels = in_batch(local, job)["labels"]
        assert labels["batchstream-scan"] == label
        assert labels["batchstream-digest"] == identity.digest_label(told["digest"])
        assert labels["batchstream-bytes"] == str(told["compressed_bytes"])
        assert (job["digest"], job["streamed"]) == (told["digest"], streamed)

    def test_says_so_at_the_end(self, told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        After(scan=told).run(told["pinned"], scan_image=False, wait_for_completion=True, polling_period_seconds=0.3)
        said = " ".join(capsys.readouterr().out.split())
        assert "is as the task scan scanned it (holds): it is not read again" in said
        assert "Image streaming: eligible: the scan found the rules kept" in said

    @pytest.mark.parametrize("other", [{"region": "europe-west1"}, {"platform": "linux/arm64"}, {"pinned": None}])
    def test_knows_nothing_of_an_image_that_was_not_handed_on(
        self, local: Local, told: dict[str, Any], other: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = After(scan=told | other).run(told["pinned"], scan_image=False)
        assert not {"batchstream-scan", "batchstream-bytes"} & set(in_batch(local, job)["labels"])
        assert (job["digest"], job["streamed"]) == (told["digest"], "requested")

    def test_knows_that_a_scan_for_no_region_could_not_tell_all(self, told: dict[str, Any], tag: str) -> None:
        anywhere = look(tag, region=None)[1]
        assert After(scan=anywhere).run(told["pinned"], scan_image=False)["streamed"] == "unknown"

    def test_reads_no_registry(self, local: Local, told: dict[str, Any], unreadable: None) -> None:
        assert After(scan=told).run(told["pinned"], scan_image=False)["streamed"] == "eligible"
        assert After().run(told["pinned"], scan_image=False)["streamed"] == "requested"


class TestTheScanTask:
    def test_of_one_image_returns_one_pinned_reference(self, local: Local, tag: str) -> None:
        pinned, found = look(tag)
        assert pinned == found["pinned"] == f"{IMAGE}@{found['digest']}"

    def test_of_a_list_returns_lists_in_its_order(
        self, local: Local, tag: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pinned, found = look([f"{IMAGE}:empty", tag, "no name"], fail_on="never")
        assert "Summary   3 images: 2 do not stream, 1 may be streamed" in capsys.readouterr().out
        assert [one["tag"] for one in found] == ["empty", tag.rpartition(":")[2], None]
        assert [one["verdict"] for one in found] == ["broken", "holds", "broken"]
        assert pinned == [*(one["pinned"] for one in found[:2]), "no name"]

    def test_looks_into_as_many_small_layers_as_it_may(self, local: Local, tag: str) -> None:
        looks = [len(look(f"{IMAGE}:small", max_small_blobs=most)[1]["looked_into"]) for most in (8, 0)]
        assert looks == [1, 0]

    def test_of_an_empty_list_returns_one(self, local: Local, tag: str) -> None:
        assert look([]) == ([], [])

    def test_of_a_list_tells_all_that_fail_at_once(self, local: Local, tag: str) -> None:
        with pytest.raises(AirflowFailException, match=r"(?s):empty cannot .*:nowhere cannot be .*No/Name cannot "):
            look([f"{IMAGE}:empty", tag, f"{IMAGE}:nowhere", "No/Name"])

    @pytest.mark.parametrize("given", [None, 3, {"a": "b"}, ["", 3], [None]])
    def test_of_what_is_no_name_says_so(self, local: Local, tag: str, given: Any) -> None:
        with pytest.raises(AirflowFailException, match="image_uri"):
            look(given)

    def test_returns_the_name_as_written_where_nothing_is_told(self, local: Local, tag: str, unreadable: None) -> None:
        pinned, found = look(tag)
        assert pinned == tag
        assert (found["verdict"], found["pinned"]) == ("could not be told", None)
