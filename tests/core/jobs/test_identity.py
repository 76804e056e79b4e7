from __future__ import annotations

import re
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.jobs import identity
from airflow_batchstream.core.jobs.identity import Scanned
from airflow_batchstream.core.jobs.model import Owner

JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
OWNER = Owner(
    "daily_report", "scheduled__2026-01-01T00:00:00+00:00", "train.model", -1, 2, "2026-01-01T00:00:01.000002"
)

names = st.text(min_size=1, max_size=260)
owners = st.builds(Owner, names, names, names, st.integers(-1, 1024), st.integers(0, 10), st.text(max_size=40))


class TestJobIds:
    def test_it_is_readable_and_computed(self) -> None:
        assert re.fullmatch(r"daily-report-train-model-[0-9a-f]{16}-1", identity.job_id(OWNER, 1))
        assert re.fullmatch(
            r"daily-report-train-model-7-[0-9a-f]{16}-12", identity.job_id(replace(OWNER, map_index=7), 12)
        )

    def test_it_never_changes(self) -> None:
        """Jobs that older releases created are found by it."""
        assert identity.job_id(OWNER, 1) == "daily-report-train-model-55cf6af5b06c7e93-1"

    @given(owners, st.integers(1, 1000))
    def test_batch_takes_it(self, owner: Owner, generation: int) -> None:
        assert JOB_ID.fullmatch(identity.job_id(owner, generation))

    @given(owners)
    def test_generations_differ_and_the_rest_is_the_same(self, owner: Owner) -> None:
        first, second = identity.job_id(owner, 1), identity.job_id(owner, 2)
        assert first[:-2] == second[:-2]
        assert first != second

    @given(owners, st.integers(1, 50))
    def test_a_retry_finds_the_same_job(self, owner: Owner, try_number: int) -> None:
        again = replace(owner, try_number=try_number)
        assert identity.job_id(again, 1) == identity.job_id(owner, 1)
        assert identity.labels(again)["batchstream-id"] == identity.labels(owner)["batchstream-id"]

    @given(owners, owners)
    def test_another_owner_has_another_job(self, one: Owner, other: Owner) -> None:
        if replace(one, try_number=1) != replace(other, try_number=1):
            assert identity.job_id(one, 1) != identity.job_id(other, 1)
            assert identity.labels(one)["batchstream-id"] != identity.labels(other)["batchstream-id"]

    @given(owners, st.sampled_from(["dag_id", "run_id", "task_id", "map_index", "max_tries", "run_started"]))
    def test_each_part_of_the_owner_counts(self, owner: Owner, part: str) -> None:
        value = getattr(owner, part)
        other = replace(owner, **{part: value + 1 if isinstance(value, int) else f"{value}x"})
        assert identity.job_id(owner, 1) != identity.job_id(other, 1)

    def test_where_one_name_ends_and_the_next_begins_counts(self) -> None:
        one, other = replace(OWNER, dag_id="a", run_id="b_c"), replace(OWNER, dag_id="a_b", run_id="c")
        assert identity.job_id(one, 1)[-18:] != identity.job_id(other, 1)[-18:]

    @pytest.mark.parametrize(
        ("dag_id", "task_id", "slug"),
        [
            ("1st", "2nd", "d1st-2nd"),
            ("日本", "ü", "dag-task"),
            ("a" * 100, "task", "a" * 39 + "-task"),
            ("dag", "t" * 100, "dag-" + "t" * 40),
            ("d" * 100, "t" * 100, "d" * 21 + "-" + "t" * 22),
            ("__x__", "--y--", "x-y"),
        ],
    )
    def test_long_and_strange_names_stay_readable(self, dag_id: str, task_id: str, slug: str) -> None:
        assert identity.job_id(replace(OWNER, dag_id=dag_id, task_id=task_id), 1)[:-19] == slug


class TestLabels:
    @given(owners)
    def test_they_are_valid(self, owner: Owner) -> None:
        labels = identity.labels(owner)
        assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) for key in labels)
        assert all(re.fullmatch(r"[a-z0-9_-]{1,63}", value) for value in labels.values())

    def test_those_that_decide_come_first(self) -> None:
        """Where only some have room, those are kept."""
        assert list(identity.labels(OWNER)) == [
            *("batchstream-id", "batchstream-task", "airflow-dag-id", "airflow-task-id"),
            *("airflow-run-id", "airflow-map-index", "airflow-try-number"),
        ]

    def test_people_recognise_their_task(self) -> None:
        labels = identity.labels(replace(OWNER, try_number=3))
        assert labels["airflow-dag-id"] == "daily_report"
        assert labels["airflow-task-id"] == "train_model"
        assert labels["airflow-run-id"] == "scheduled__2026-01-01t00_00_00_00_00"
        assert labels["airflow-map-index"] == "-1"
        assert labels["airflow-try-number"] == "3"

    def test_a_value_that_is_cut_ends_in_a_hash_of_the_whole(self) -> None:
        one, other = identity.label_value("a" * 64), identity.label_value("a" * 65)
        assert one != other
        assert len(one) == 63

    @given(owners, st.integers(0, 10))
    def test_the_task_label_is_the_same_after_a_clear(self, owner: Owner, max_tries: int) -> None:
        cleared = replace(owner, max_tries=max_tries)
        assert identity.labels(owner)["batchstream-task"] == identity.labels(cleared)["batchstream-task"]

    def test_the_spec_label_follows_the_spec_and_not_its_order(self) -> None:
        assert identity.spec_label({"a": {"x": "1", "y": "2"}}) == identity.spec_label({"a": {"y": "2", "x": "1"}})
        assert identity.spec_label({"a": {"x": "1"}}) != identity.spec_label({"a": {"x": "2"}})
        assert re.fullmatch(r"[0-9a-f]{32}", identity.spec_label({}))


class TestRequestIds:
    @given(st.text(max_size=20), st.text(max_size=20))
    def test_a_repeat_has_the_same_and_another_try_another(self, job_id: str, salt: str) -> None:
        found = identity.request_id(job_id, salt)
        assert str(uuid.UUID(found)) == found
        assert found == identity.request_id(job_id, salt)
        assert found != identity.request_id(job_id, salt + "x")
        assert found != identity.request_id(job_id + "x", salt)

    def test_where_id_and_salt_meet_counts(self) -> None:
        assert identity.request_id("a", "bc") != identity.request_id("ab", "c")


class TestTheScansLabels:
    def test_a_digest_is_a_label_and_comes_back(self) -> None:
        digest = "sha256:" + "0123456789abcdef" * 4
        label = identity.digest_label(digest)
        assert re.fullmatch(r"[a-z2-7]{52}", label)
        assert identity.digest_of_label(label) == digest

    @pytest.mark.parametrize("value", ["", "x", "sha512:00", "sha256:00", "?" * 52, "a" * 51])
    def test_what_is_none_gives_none(self, value: str) -> None:
        assert identity.digest_label(value) == ""
        assert identity.digest_of_label(value) == ""

    def test_what_is_not_known_has_no_label(self) -> None:
        assert identity.scan_labels(Scanned()) == {}
        assert identity.scan_labels(Scanned(verdict="unknown")) == {"batchstream-scan": "unknown"}

    @pytest.mark.parametrize(
        "scanned", [Scanned(), Scanned("sha256:" + "ab" * 32, "holds", 9_800_000_000), Scanned(verdict="broken")]
    )
    def test_what_is_known_comes_back_from_values_that_labels_may_have(self, scanned: Scanned) -> None:
        labels = identity.scan_labels(scanned)
        assert identity.scan_of_labels(labels) == scanned
        assert all(re.fullmatch(r"[a-z0-9_-]{1,63}", value) for value in labels.values())

    @pytest.mark.parametrize("size", ["", "-1", "1e3", "٣", "9" * 16, "12 "])
    def test_a_size_that_is_none_is_not_known(self, size: str) -> None:
        assert identity.scan_of_labels({"batchstream-bytes": size}) == Scanned()
