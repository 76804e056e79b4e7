"""The wait for a job's end: one decision at a time, with the time and the dice passed in."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import CREATED, DENIED, DOWN, JOB, NOT_FOUND, STEADY, WATCH, event, look, set_to, sight, texts

from airflow_batchstream.core.jobs.model import Sight, State, Trouble
from airflow_batchstream.core.jobs.watch import (
    Cancel,
    Ended,
    News,
    Reason,
    Wait,
    Watch,
    after_cancel,
    decide,
)


class TestStates:
    @pytest.mark.parametrize(
        "state",
        [
            State.STATE_UNSPECIFIED,
            State.QUEUED,
            State.SCHEDULED,
            State.RUNNING,
            State.CANCELLATION_IN_PROGRESS,
            State.DELETION_IN_PROGRESS,
        ],
    )
    def test_a_job_that_has_not_ended_is_waited_for(self, state: State) -> None:
        watch, step = look(WATCH, sight(state))
        assert isinstance(step, Wait)
        assert step.seconds == 10
        assert watch.state is state

    @pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
    def test_a_job_that_has_ended_ends_the_wait_by_its_state(self, state: State) -> None:
        _, step = look(WATCH, sight(state))
        assert isinstance(step, Ended)
        assert step.reason is Reason.STATE
        assert step.sight is not None
        assert step.sight.state is state

    def test_every_state_of_batch_has_an_answer(self) -> None:
        assert all(look(WATCH, sight(state))[1] for state in State)

    def test_a_deletion_followed_by_not_found_is_gone(self) -> None:
        _, step = look(WATCH, sight(State.DELETION_IN_PROGRESS), NOT_FOUND)
        assert isinstance(step, Ended)
        assert step.reason is Reason.GONE

    def test_another_job_under_the_same_name_means_that_ours_is_gone(self) -> None:
        _, step = look(WATCH, sight(State.RUNNING), sight(State.RUNNING, uid="uid-2"))
        assert isinstance(step, Ended)
        assert step.reason is Reason.GONE
        assert step.sight is None
        assert "uid-2" in texts(step)[-1]

    def test_uid_and_create_time_are_taken_from_the_first_look_if_not_known(self) -> None:
        watch, _ = look(Watch(JOB, ""), sight(State.QUEUED))
        assert (watch.uid, watch.created) == ("uid-1", CREATED)


class TestPolling:
    def test_a_young_job_is_looked_at_more_often(self) -> None:
        pauses = [look(WATCH, sight(State.QUEUED), now=CREATED + age)[1].seconds for age in (0, 5, 30, 60, 100, 5000)]  # type: ignore[union-attr]
        assert pauses == [1, 1, 3, 6, 10, 10]

    def test_a_clock_behind_googles_does_no_harm(self) -> None:
        _, step = look(WATCH, sight(State.QUEUED), now=CREATED - 50)
        assert isinstance(step, Wait)
        assert step.seconds == 1

    def test_a_short_poll_is_kept_short(self) -> None:
        _, step = look(replace(WATCH, poll_seconds=0.2), sight(State.RUNNING))
        assert step.seconds == 0.2  # type: ignore[union-attr]

    def test_no_pause_lasts_beyond_the_next_deadline(self) -> None:
        _, step = look(replace(WATCH, timeout_at=STEADY + 3), sight(State.RUNNING))
        assert step.seconds == 3  # type: ignore[union-attr]

    def test_no_pause_of_trouble_lasts_beyond_the_next_deadline(self) -> None:
        watch = replace(WATCH, timeout_at=STEADY + 100, errors=30)
        watch, step = decide(watch, DOWN, STEADY + 98, 0.99)
        assert step.seconds == pytest.approx(2)  # type: ignore[union-attr]


class TestStatusEvents:
    def test_each_is_told_once_in_the_order_of_its_time(self) -> None:
        first, second, third = event(1, "queued"), event(2, "VM asked for"), event(3, "VM there")
        watch, step = look(WATCH, sight(State.QUEUED, second, first))
        assert texts(step)[:2] == ["queued", "VM asked for"]
        watch, step = look(watch, sight(State.QUEUED, first, second, third))
        assert texts(step) == ["VM there"]
        _, step = look(watch, sight(State.QUEUED, first, second, third))
        assert texts(step) == []

    def test_they_carry_their_own_time(self) -> None:
        _, step = look(WATCH, sight(State.QUEUED, event(7, "VM asked for")))
        assert step.news[0].at == CREATED + 7

    def test_a_list_that_batch_shortened_or_reordered_repeats_nothing(self) -> None:
        a, b, c = event(1, "a"), event(2, "b"), event(3, "c")
        watch, _ = look(WATCH, sight(State.QUEUED, a, b, c))
        watch, step = look(watch, sight(State.QUEUED, c, b))
        assert texts(step) == []
        watch, step = look(watch, sight(State.QUEUED, event(4, "d"), c))
        assert texts(step) == ["d"]
        _, step = look(watch, sight(State.QUEUED, b, a, c))
        assert texts(step) == []

    def test_two_events_of_one_moment_are_two(self) -> None:
        _, step = look(WATCH, sight(State.QUEUED, event(1, "a"), event(1, "b")))
        assert texts(step)[:2] == ["a", "b"]

    def test_a_quota_stall_is_a_warning(self) -> None:
        stall = event(9, "VM in Managed Instance Group meets error: CODE_GCE_QUOTA_EXCEEDED, CPUS limit 24.0")
        _, step = look(WATCH, sight(State.QUEUED, stall))
        assert step.news[0].level == logging.WARNING

    def test_a_plain_change_of_state_is_information(self) -> None:
        _, step = look(WATCH, sight(State.SCHEDULED, set_to(1, State.QUEUED, State.SCHEDULED)))
        assert [news.level for news in step.news] == [logging.INFO]

    def test_a_state_that_no_event_tells_is_told_once(self) -> None:
        watch, step = look(WATCH, sight(State.QUEUED))
        assert texts(step) == ["The job is QUEUED."]
        watch, step = look(watch, sight(State.QUEUED))
        assert texts(step) == []
        _, step = look(watch, sight(State.RUNNING))
        assert texts(step) == ["The job is RUNNING."]

    def test_the_last_ones_come_with_the_end(self) -> None:
        _, step = look(WATCH, sight(State.FAILED, event(1, "no such service account")))
        assert isinstance(step, Ended)
        assert "no such service account" in texts(step)

    def test_what_is_remembered_of_them_stays_small(self) -> None:
        watch = WATCH
        for round_ in range(30):
            watch, _ = look(watch, sight(State.RUNNING, *(event(round_, f"{round_}-{n}") for n in range(100))))
        assert len(watch.events_shown) <= 1000


class TestTransientTrouble:
    @pytest.mark.parametrize(
        "code", ["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "UNKNOWN"]
    )
    def test_without_a_deadline_it_is_borne_for_days(self, code: str) -> None:
        watch, step = look(WATCH, *[Trouble(code, "")] * 3000, every=60)
        assert isinstance(step, Wait)
        assert watch.errors == 3000

    def test_the_pauses_grow_and_are_capped(self) -> None:
        watch, pauses = WATCH, []
        for n in range(9):
            watch, step = decide(watch, DOWN, STEADY + n, 0.999)
            pauses.append(round(step.seconds))  # type: ignore[union-attr]
        assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]

    def test_the_jitter_is_full_but_never_a_busy_loop(self) -> None:
        watch = replace(WATCH, errors=10)
        assert decide(watch, DOWN, STEADY, 0.0)[1].seconds == 0.5  # type: ignore[union-attr]
        assert decide(watch, DOWN, STEADY, 0.5)[1].seconds == 30  # type: ignore[union-attr]

    def test_what_the_server_asks_for_is_waited(self) -> None:
        _, step = decide(WATCH, Trouble("RESOURCE_EXHAUSTED", "", retry_after=45), STEADY, 0.1)
        assert step.seconds == 45  # type: ignore[union-attr]

    def test_it_is_said_first_and_then_at_doublings(self) -> None:
        watch, said = WATCH, []
        for n in range(1, 40):
            watch, step = decide(watch, DOWN, STEADY + n, 0.5)
            if step.news:
                said.append(n)
        assert said == [1, 4, 8, 16, 32]

    def test_the_words_name_the_error_and_say_that_the_job_goes_on(self) -> None:
        _, step = look(WATCH, DOWN)
        assert "UNAVAILABLE: connection reset" in texts(step)[0]
        assert "the job itself goes on" in texts(step)[0]
        assert step.news[0].level == logging.WARNING

    def test_later_words_count(self) -> None:
        assert "row" not in texts(look(WATCH, DOWN)[1])[0]
        assert ", 4 times in a row (" in texts(look(WATCH, DOWN, DOWN, DOWN, DOWN)[1])[0]

    def test_its_end_is_said_once(self) -> None:
        watch, step = look(WATCH, sight(State.RUNNING), DOWN, DOWN, DOWN, sight(State.RUNNING))
        assert texts(step) == ["Batch answers again, after it failed 3 times."]
        assert (watch.errors, watch.error) == (0, "")
        _, step = look(watch, sight(State.RUNNING))
        assert texts(step) == []

    def test_a_message_of_any_length_stays_one_short_line(self) -> None:
        watch, step = look(WATCH, Trouble("INTERNAL", "x\n" * 5000))
        assert len(texts(step)[0]) < 700
        assert "\n" not in watch.error


class TestNotFound:
    def test_right_after_the_creation_it_is_borne(self) -> None:
        _, step = look(WATCH, *[NOT_FOUND] * 10, now=CREATED, every=2)
        assert isinstance(step, Wait)

    def test_the_job_may_turn_up_after_all(self) -> None:
        watch, step = look(WATCH, NOT_FOUND, NOT_FOUND, sight(State.QUEUED), now=CREATED)
        assert isinstance(step, Wait)
        assert watch.refused_since is None

    def test_a_job_never_seen_is_gone_in_the_end(self) -> None:
        _, step = look(WATCH, *[NOT_FOUND] * 17, now=CREATED, every=2)
        assert isinstance(step, Ended)
        assert step.reason is Reason.GONE

    def test_one_stray_answer_ends_no_wait(self) -> None:
        _, step = look(WATCH, sight(State.RUNNING), NOT_FOUND)
        assert isinstance(step, Wait)

    def test_a_job_seen_before_is_gone_after_some_seconds(self) -> None:
        _, step = look(WATCH, sight(State.RUNNING), NOT_FOUND, NOT_FOUND, every=6)
        assert isinstance(step, Ended)
        assert step.reason is Reason.GONE

    def test_absence_counts_from_its_first_answer_not_from_other_trouble(self) -> None:
        watch, _ = look(WATCH, sight(State.RUNNING), *[DENIED] * 10, every=6)
        _, step = decide(watch, NOT_FOUND, STEADY + 70, 0.5)
        assert isinstance(step, Wait)


class TestRefusals:
    @pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_ARGUMENT"])
    def test_they_are_borne_for_a_while(self, code: str) -> None:
        _, step = look(WATCH, *[Trouble(code, "")] * 9, every=10)
        assert isinstance(step, Wait)

    @pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_ARGUMENT"])
    def test_then_they_end_the_wait(self, code: str) -> None:
        watch, step = look(WATCH, *[Trouble(code, "no")] * 10, every=10)
        assert isinstance(step, Ended)
        assert step.reason is Reason.REFUSED
        assert watch.error == f"{code}: no"

    def test_several_tries_are_made_however_long_they_take(self) -> None:
        watch, step = look(WATCH, DENIED, DENIED, DENIED, every=100)
        assert isinstance(step, Wait)
        _, step = look(watch, DENIED, now=STEADY + 300)
        assert isinstance(step, Ended)

    def test_the_pauses_leave_room_for_several_tries(self) -> None:
        watch, now, tries = WATCH, STEADY, 0
        while True:
            watch, step = decide(watch, DENIED, now, 0.999)
            tries += 1
            if not isinstance(step, Wait):
                break
            now += step.seconds
        assert tries >= 6
        assert 90 <= now - STEADY <= 120

    def test_an_answer_forgives_them(self) -> None:
        watch, _ = look(WATCH, *[DENIED] * 9, sight(State.RUNNING), every=10)
        _, step = look(watch, DENIED, now=STEADY + 200)
        assert isinstance(step, Wait)

    def test_transient_trouble_in_between_does_not(self) -> None:
        _, step = look(WATCH, *[DENIED, DOWN] * 8, DENIED, every=10)
        assert isinstance(step, Ended)


class TestPlainData:
    def test_a_watch_survives_json(self) -> None:
        watch, _ = look(
            replace(WATCH, timeout_at=STEADY + 1, log_limit=5), sight(State.RUNNING, event(1, "a")), DOWN, DENIED, DOWN
        )
        watch, _ = after_cancel(watch, DOWN, STEADY, 0.5)
        assert Watch.from_dict(json.loads(json.dumps(watch.as_dict()))) == watch

    def test_keys_of_another_version_are_dropped_and_missing_ones_defaulted(self) -> None:
        plain = {"job": str(JOB), "uid": "u", "state": "DREAMING", "colour": "red"}
        assert Watch.from_dict(plain) == Watch(JOB, "u")

    def test_the_wait_goes_on_where_it_was(self) -> None:
        listed = sight(State.QUEUED, event(1, "a"))
        watch, _ = look(WATCH, listed)
        again = Watch.from_dict(json.loads(json.dumps(watch.as_dict())))
        assert look(again, listed)[1] == Wait(10.0)


ANSWERS = st.one_of(
    st.sampled_from(list(State)).map(sight),
    st.sampled_from([DOWN, DENIED, NOT_FOUND, Trouble("RESOURCE_EXHAUSTED", "", 20)]),
)


class TestAnything:
    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(ANSWERS, st.booleans()), min_size=1, max_size=60),
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.none(), st.floats(0, 300)),
        st.one_of(st.none(), st.floats(0, 300)),
        st.booleans(),
    )
    def test_a_wait_with_a_deadline_ends_within_its_bound_whatever_batch_answers(
        self,
        answers: list[tuple[Sight | Trouble, bool]],
        rnd: float,
        timeout: float | None,
        queued: float | None,
        cancel: bool,
    ) -> None:
        now = CREATED
        watch = replace(
            WATCH,
            timeout_at=None if timeout is None else now + timeout,
            queued_until=None if queued is None else now + queued,
            cancel_on_timeout=cancel,
        )
        for step_number in range(5000):
            answer, taken = answers[step_number % len(answers)]
            watch, step = decide(watch, answer, now, rnd)
            assert all(isinstance(news, News) and news.text for news in step.news)
            if isinstance(step, Ended):
                return
            if isinstance(step, Cancel):
                watch, step = after_cancel(watch, None if taken else DOWN, now, rnd)
            assert 0 < step.seconds <= 300
            now += step.seconds
            if timeout is not None:
                assert now <= CREATED + timeout + watch.cancel_wait + 1
        assert timeout is None
