"""When the containers first printed: never earlier than the truth."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.jobs.first_line import CLOCKS_SECONDS, MOST_BY_DOCKER, FirstLine
from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.streamed import MUCH_SOONER, PULL_BYTES_PER_SECOND, TELLING_SECONDS, Signs, judge

RAN = 1_700_000_000
PULLED = "Unable to find image 'us-docker.pkg.dev/p/r/i:1' locally"
_ids = itertools.count()


def line(seconds: float, text: str = "hello", *, task: int = 0, attempt: int = 0, late: float = 1.0) -> Line:
    """
    :param seconds: after RUNNING, as the VM dates it.
    :param late: so long after that it was received.
    """
    at, received = (int((RAN + after) * 10**9) for after in (seconds, seconds + late))
    task_id = f"task/uid-group0-{task}/{attempt}/0"
    return Line("uid", "batch_task_logs", at, received, str(next(_ids)), "INFO", task_id, text)


def first(*lines: Line) -> float | None:
    """Seconds after RUNNING."""
    found = FirstLine()
    for one in lines:
        found.take([one])
    return None if found.at is None else round(found.at - RAN, 3)


class TestTheFirstLine:
    def test_is_the_earliest_of_all_tasks_in_whatever_order_they_are_read(self) -> None:
        assert first(line(9, task=2), line(4, task=1), line(7, task=1), line(5, task=3)) == 4

    def test_of_nothing_is_none(self) -> None:
        assert first() is None

    def test_is_none_of_docker_s_words(self) -> None:
        assert first(line(1, PULLED), line(2, "Using default tag: latest")) is None
        assert first(line(1, PULLED), line(300)) == 300

    def test_of_what_is_no_task_counts(self) -> None:
        assert first(line(3, task=1), Line("uid", "", RAN * 10**9, RAN * 10**9, "x", "INFO", "", "hello")) == 0


class TestATaskThatWasRetried:
    """Batch retries a task whose image did not come, as one whose VM was preempted."""

    def test_counts_from_its_last_attempt(self) -> None:
        failed, came = line(1, "failed to resolve reference"), line(490, attempt=1)
        assert first(failed, came) == first(came, failed) == 490

    def test_leaves_the_other_tasks_alone(self) -> None:
        assert first(line(1), line(490, attempt=1), line(4, task=1)) == 4

    def test_of_which_only_docker_has_spoken_since_has_none(self) -> None:
        assert first(line(1), line(480, PULLED, attempt=1)) is None


class TestAVMsClock:
    def test_is_believed_where_it_agrees_with_the_time_of_receipt(self) -> None:
        assert first(line(4, late=14)) == 4

    def test_is_not_where_the_line_was_received_long_after(self) -> None:
        """The clock is behind, or the line was held up: the one would look streamed, the other may."""
        assert first(line(4, late=60)) == 64

    def test_that_is_ahead_makes_the_line_later(self) -> None:
        assert first(line(40, late=-36)) == 40

    @given(st.floats(0, 3600), st.floats(TELLING_SECONDS, 3600), st.floats(0, 60))
    def test_makes_no_image_look_streamed_that_was_downloaded(
        self, behind: float, download: float, held: float
    ) -> None:
        """Whatever the clock is behind and the line was held up: it was printed when all was downloaded."""
        size = int(download * PULL_BYTES_PER_SECOND)
        told = first(line(download + 0.01 - behind, late=behind + held))
        assert told is not None
        signs = Signs(True, "i", size, "holds", RAN, RAN + told)
        assert judge(signs).word == "eligible"
        assert MUCH_SOONER * TELLING_SECONDS + CLOCKS_SECONDS < TELLING_SECONDS


class TestDockersWords:
    def test_are_kept_in_the_order_in_which_they_came_and_not_without_end(self) -> None:
        found = FirstLine()
        found.take(line(1, f"{n}: Pulling from p/r/i") for n in range(100))
        assert found.by_docker == [f"{n}: Pulling from p/r/i" for n in range(MOST_BY_DOCKER)]

    def test_after_the_first_line_are_the_containers_own(self) -> None:
        found = FirstLine()
        found.take([line(1), line(2, PULLED)])
        assert found.by_docker == []
