"""The repair operator, executed against a registry as a task executes it; XCom is kept in a dict."""

from __future__ import annotations

from collections import UserList  # like what Airflow makes of a mapped task's results
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import small_images as make
from airflow.sdk import DAG, BaseOperator, XComArg
from writable_registry import WritableRegistry, refuse

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.operators.images import ImageRepairOperator
from airflow_batchstream.operators.repair import REPAIR_KEY

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException

NAME = "us-docker.pkg.dev/acme/batch/train"
A, EMPTY = make.tar({"a": b"1"}), make.tar({})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture
def registry(running: WritableRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WritableRegistry:
    running.reset(tmp_path)
    running.put(NAME, make.image([A, EMPTY]))
    monkeypatch.setenv("BATCH_EMULATOR_HOST", running.address)
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "google-cloud-platform://")
    return running


class Pushed(dict[str, Any]):
    """XCom."""

    def xcom_push(self, key: str, value: Any) -> None:
        self[key] = value


def execute(**arguments: Any) -> tuple[str, Pushed]:
    xcom = Pushed()
    operator = ImageRepairOperator(task_id="repair", **{"source": f"{NAME}:1", "target": f"{NAME}:2"} | arguments)
    return operator.execute({"ti": xcom}), xcom


class TestTheTask:
    def test_returns_the_pinned_reference_of_the_repaired_image(self, registry: WritableRegistry) -> None:
        returned, xcom = execute()
        assert returned == f"{NAME}@{registry.tags(NAME)['2']}"
        assert xcom[REPAIR_KEY]["pinned"] == returned
        assert xcom[REPAIR_KEY]["written"] is True

    def test_writes_its_table_into_the_task_log(
        self, registry: WritableRegistry, capsys: pytest.CaptureFixture[str]
    ) -> None:
        execute()
        assert "linux/amd64: 2 layers, 1 empty layer dropped" in capsys.readouterr().out

    def test_of_a_dry_run_returns_the_source_which_is_there(self, registry: WritableRegistry) -> None:
        returned, xcom = execute(dry_run=True)
        assert returned == f"{NAME}@{registry.tags(NAME)['1']}"
        assert "2" not in registry.tags(NAME)
        assert xcom[REPAIR_KEY]["digest"] not in returned

    def test_fails_without_a_retry_where_the_tag_is_taken(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A]), "2")
        with pytest.raises(AirflowFailException, match="move_tag=True"):
            execute()
        execute(move_tag=True)

    def test_fails_without_a_retry_where_it_may_not_write(self, registry: WritableRegistry) -> None:
        registry.faults.append(refuse("PUT", "/manifests/", 403))
        with pytest.raises(AirflowFailException, match=r"roles/artifactregistry\.writer"):
            execute()

    def test_says_what_was_not_done_where_a_name_is_wrong(self, registry: WritableRegistry) -> None:
        with pytest.raises(AirflowFailException, match="Nothing was repaired, 1 problem"):
            execute(target=f"{NAME}:1")

    @pytest.mark.parametrize("platforms", ["linux/arm64", ["linux/arm64"], UserList(["linux/arm64"])])
    def test_takes_one_platform_with_or_without_a_list(
        self, registry: WritableRegistry, platforms: str | Sequence[str]
    ) -> None:
        broken = make.image([A, EMPTY], architecture="arm64")
        registry.put(NAME, make.index((make.image([A, EMPTY]), make.AMD64), (broken, make.ARM64)))
        _, xcom = execute(platforms=platforms)
        assert [image["platform"] for image in xcom[REPAIR_KEY]["images"]] == ["linux/arm64"]


class TestAnArgumentOfAnotherKind:
    @pytest.mark.parametrize("flag", ["move_tag", "dry_run", "copy_layers"])
    @pytest.mark.parametrize("value", ["false", "True", "{{ params.x }}", 1, None, XComArg(BaseOperator(task_id="x"))])
    def test_where_true_or_false_is_wanted_fails_when_the_dag_is_parsed(self, flag: str, value: Any) -> None:
        with pytest.raises(InvalidInput, match=f"{flag}=True or {flag}=False, without quotes") as caught:
            ImageRepairOperator(task_id="repair", source=f"{NAME}:1", target=f"{NAME}:2", **{flag: value})
        assert "Nothing was repaired, 1 problem" in str(caught.value)
        assert repr(value)[:200] in str(caught.value)

    @pytest.mark.parametrize("name", ["source", "target"])
    @pytest.mark.parametrize("value", [None, 1, ["x"]])
    def test_where_a_name_is_wanted_fails_when_the_dag_is_parsed(self, name: str, value: Any) -> None:
        names: dict[str, Any] = {"source": f"{NAME}:1", "target": f"{NAME}:2"} | {name: value}
        with pytest.raises(InvalidInput) as caught:
            ImageRepairOperator(task_id="repair", **names)
        assert f"{name}: {value!r} is no image's name. Give a text such as" in str(caught.value)

    @pytest.mark.parametrize("name", ["source", "target"])
    def test_that_a_task_returned_fails_the_task_without_a_retry(self, registry: WritableRegistry, name: str) -> None:
        names: dict[str, Any] = {"source": f"{NAME}:1", "target": f"{NAME}:2"}
        operator = ImageRepairOperator(task_id="repair", **names)
        setattr(operator, name, None)  # what Airflow puts there of a task that returned nothing
        with pytest.raises(AirflowFailException, match=f"{name}: None is no image's name.*may have returned nothing"):
            operator.execute({"ti": Pushed()})
        assert registry.seen == []

    @pytest.mark.parametrize(
        ("platforms", "words"),
        [
            ("linux/amd64,linux/arm64", r'Write a list, \["linux/amd64", "linux/arm64"\]'),
            ("", r"platforms: '' is no platform. Write OS/ARCHITECTURE.*or leave it out"),
            (["linux/amd64", None], "is no list of platforms"),
            ({"linux/amd64": True}, "is no list of platforms"),
            (7, "platforms: 7 is no list of platforms"),
        ],
    )
    def test_of_the_platforms_says_what_to_write(self, registry: WritableRegistry, platforms: Any, words: str) -> None:
        with pytest.raises(AirflowFailException, match=words):
            execute(platforms=platforms)
        assert registry.seen == []

    def test_is_not_what_another_task_returns(self) -> None:
        with DAG("d"):
            name = XComArg(BaseOperator(task_id="scan"))
            assert ImageRepairOperator(task_id="repair", source=name, target=name).source is name
