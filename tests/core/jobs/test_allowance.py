"""How many reads may be spent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchstream.core.jobs.allowance import Allowance


def spent(allowance: Allowance, start: int, seconds: int) -> int:
    """Reads taken over some seconds by one who asks ten times a second."""
    return sum(allowance.take(start + tenth / 10) for tenth in range(seconds * 10))


class TestAllowance:
    def test_a_burst_is_saved_up_and_no_more(self) -> None:
        allowance = Allowance(60, 0, burst=5)
        assert [allowance.take(1000) for _ in range(7)] == [True] * 5 + [False] * 2

    def test_a_minute_gives_what_it_says(self) -> None:
        allowance = Allowance(60, 0, burst=1)
        assert 59 <= spent(allowance, 0, 60) <= 61

    def test_a_read_given_back_can_be_taken_again(self) -> None:
        allowance = Allowance(60, 0, burst=1)
        assert allowance.take(0)
        allowance.give_back()
        assert allowance.take(0)

    def test_a_read_that_nobody_waits_for_leaves_most_to_those_who_wait(self) -> None:
        allowance = Allowance(60, 0, burst=5)
        assert [allowance.spare(0) for _ in range(200)].count(True) == 2
        assert [allowance.take(0) for _ in range(5)] == [True] * 3 + [False] * 2

    def test_a_read_that_nobody_waits_for_is_not_spent_in_a_pause(self) -> None:
        allowance = Allowance(600, 0)
        allowance.throttled(0, 0.0, retry_after=60)
        assert not allowance.spare(59)
        assert allowance.spare(61)

    def test_a_refusal_pauses_and_halves(self) -> None:
        allowance = Allowance(60, 0)
        allowance.throttled(0, 0.0)
        assert not any(allowance.take(tenth / 10) for tenth in range(50))
        assert 28 <= spent(allowance, 5, 60) <= 40

    def test_the_pause_is_spread_so_that_readers_do_not_come_back_at_once(self) -> None:
        allowance = Allowance(60, 0)
        allowance.throttled(0, 0.9)
        assert not allowance.take(13.9)
        assert allowance.take(14)

    def test_what_the_server_asks_for_is_waited(self) -> None:
        allowance = Allowance(60, 0)
        allowance.throttled(0, 0.0, retry_after=60)
        assert not allowance.take(59)
        assert allowance.take(60)

    def test_the_rate_is_regained_in_ten_minutes(self) -> None:
        allowance = Allowance(60, 0, burst=1)
        allowance.throttled(0, 0.0)
        spent(allowance, 0, 600)
        assert 59 <= spent(allowance, 600, 60) <= 61

    def test_many_refusals_leave_a_tenth(self) -> None:
        allowance = Allowance(60, 0)
        for _ in range(20):
            allowance.throttled(0, 0.0)
        assert allowance.rate == 6

    def test_a_clock_that_goes_back_gives_nothing(self) -> None:
        allowance = Allowance(60, 1000, burst=1)
        assert allowance.take(1000)
        assert not allowance.take(500)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 12).map(lambda n: n / 4), st.booleans()), max_size=200))
    def test_it_never_spends_more_than_it_has(self, steps: list[tuple[float, bool]]) -> None:
        allowance, now, taken = Allowance(60, 0.0), 0.0, 0
        for wait, refused in steps:
            now += wait
            taken += allowance.take(now)
            if refused:
                allowance.throttled(now, 0.5)
            assert taken <= 5 + now + 1e-6
