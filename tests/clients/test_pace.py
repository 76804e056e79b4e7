"""The pace of a host that asks for fewer requests, as pure decisions over made-up seconds."""

from __future__ import annotations

import pytest

from airflow_batchstream.clients.pace import LONGEST_SPELL, QUOTA, Pace, Record


class TestAHost:
    def test_that_never_asked_for_fewer_requests_has_no_pace(self) -> None:
        pace = Pace()
        for now in (5.0, 5.0, 5.0):
            assert pace.wait(now) <= 0
            pace.began(now)
            pace.answered()

    def test_that_asks_for_a_pause_gets_it_from_all(self) -> None:
        pace = Pace()
        pace.fewer(10.0, 3.0)
        pace.fewer(10.1, 1.0)  # a shorter one does not end it
        assert pace.wait(11.0) == 2.0
        assert pace.wait(13.0) <= 0

    def test_is_asked_less_often_each_time_and_no_less_than_once_a_second(self) -> None:
        pace, seen = Pace(), []
        for now in range(10):
            assert pace.fewer(float(now), 0.0)
            seen.append(pace.between)
        assert seen[:4] == [0.05, 0.1, 0.2, 0.4]
        assert seen[-1] == 1.0
        pace.began(100.0)
        assert pace.wait(100.25) == 0.75

    def test_that_says_so_to_several_at_once_has_said_it_once(self) -> None:
        pace = Pace()
        assert [pace.fewer(now, 0.0) for now in (10.0, 10.1, 10.4)] == [True, False, False]
        assert pace.between == 0.05
        assert pace.fewer(10.5, 0.0)
        assert [pace.fewer(now, 5.0) for now in (20.0, 24.9, 25.0)] == [True, False, True]

    def test_that_answers_is_asked_faster_again_until_there_is_no_pace(self) -> None:
        pace = Pace()
        pace.fewer(0.0, 0.0)
        for _ in range(100):
            pace.answered()
        assert pace.between == 0.0

    def test_is_given_up_after_five_minutes_of_it_though_it_answers_some(self) -> None:
        pace, record, now = Pace(), Record(), 0.0
        while now <= LONGEST_SPELL:
            pace.fewer(now, 0.0)
            record.good(now)
            assert not record.hopeless(now, pace, 4)
            now += 20
        pace.fewer(now, 0.0)
        assert record.hopeless(now, pace, 4)

    def test_that_asks_for_it_now_and_then_in_an_hour_is_not(self) -> None:
        pace = Pace()
        for now in range(0, 3600, 60):
            pace.fewer(float(now), 0.0)
            assert not pace.too_long(float(now))


class TestARecord:
    def test_of_nothing_but_refusals_is_hopeless_after_as_many_as_one_image_has_tries(self) -> None:
        record, pace = Record(), Pace()
        for refusals, hopeless in enumerate((False, False, False, False, True)):
            record.refusals = refusals
            assert record.hopeless(10.0, pace, 4) is hopeless

    @pytest.mark.parametrize(("later", "hopeless"), [(1.0, False), (QUOTA, False), (QUOTA + 1, True)])
    def test_with_an_answer_waits_until_a_quota_of_a_minute_is_there_again(self, later: float, hopeless: bool) -> None:
        record = Record()
        record.good(100.0)
        record.refusals = 50
        assert record.lately(100.0 + later) is not hopeless
        assert record.hopeless(100.0 + later, Pace(), 4) is hopeless
