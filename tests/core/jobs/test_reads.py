"""The plan of reads, one behaviour at a time; that nothing is lost or doubled is tested in a file of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.model import Line, Trouble
from airflow_batchstream.core.jobs.reads import Allowance, Pass, ReadPlan, ReadSettings, for_endpoint
from airflow_batchstream.core.jobs.times import ns

T = 1_700_000_000.0
FIGURES = ReadSettings(per_minute=6000)
DOWN = Trouble("UNAVAILABLE", "not now")


def line(uid: str, at: float, insert_id: str, received: float | None = None) -> Line:
    return Line(uid, "batch_task_logs", ns(at), ns(at if received is None else received), insert_id, "INFO", "", "x")


def plan_of(*uids: str, figures: ReadSettings = FIGURES) -> ReadPlan:
    plan = ReadPlan(figures, T)
    for uid in uids:
        plan.add(uid, T, T)
    return plan


def asked(plan: ReadPlan, now: float) -> Pass:
    read = plan.next_read(now)
    assert read is not None
    return read


def quiet_pass(plan: ReadPlan, now: float) -> None:
    """One pass that finds nothing."""
    assert plan.on_page(asked(plan, now), [], "", now) == []


class TestWhatIsAskedFor:
    def test_a_new_job_is_read_at_once_from_a_minute_before_its_creation(self) -> None:
        read = asked(plan_of("a"), T)
        assert (read.uids, read.since_ns, read.floor_ns, read.token) == (["a"], ns(T - 60), ns(T - 60), "")

    def test_jobs_share_a_query(self) -> None:
        assert asked(plan_of("a", "b", "c"), T).uids == ["a", "b", "c"]

    def test_not_more_of_them_than_the_filter_holds(self) -> None:
        plan = plan_of(*(f"job-{n:060d}" for n in range(1000)))
        first = asked(plan, T)
        assert 200 < len(first.uids) < 1000
        assert len(first.filter("shop")) <= 20_000

    def test_nothing_is_asked_for_while_nothing_is_due(self) -> None:
        plan = plan_of("a")
        quiet_pass(plan, T)
        assert plan.next_read(T + 9.9) is None
        assert plan.next_read(T + 10) is not None

    def test_what_is_not_due_spends_no_allowance(self) -> None:
        allowance = Allowance(60, T, burst=2)
        plan = ReadPlan(FIGURES, T, allowance)
        for _ in range(10):
            assert plan.next_read(T) is None
        assert allowance.take(T)

    def test_nothing_is_asked_for_without_allowance(self) -> None:
        plan = ReadPlan(FIGURES, T, Allowance(60, T, burst=1))
        plan.add("a", T, T)
        plan.add("b", T - 10_000, T)
        asked(plan, T)
        assert plan.next_read(T) is None

    def test_after_a_pass_the_bound_moves_to_its_start_less_the_visible_time(self) -> None:
        plan = plan_of("a")
        read = asked(plan, T + 100)
        plan.on_page(read, [line("a", T + 130, "1")], "", T + 130)
        assert asked(plan, T + 140).since_ns == ns(T + 40)

    def test_the_floor_of_the_lines_own_time_follows_an_hour_behind(self) -> None:
        plan = plan_of("a")
        quiet_pass(plan, T + 10_000)
        assert asked(plan, T + 10_010).floor_ns == ns(T + 10_000 - 60 - 3600)

    def test_a_long_log_of_old_is_read_from_its_start_after_a_restart(self) -> None:
        plan = ReadPlan(FIGURES, T)
        plan.add("a", T - 5000, T)
        assert asked(plan, T).since_ns == ns(T - 5060)


class TestPages:
    def test_only_new_lines_come_out(self) -> None:
        plan = plan_of("a")
        first, second = line("a", T, "1"), line("a", T + 1, "2")
        assert plan.on_page(asked(plan, T), [first], "", T) == [first]
        assert plan.on_page(asked(plan, T + 10), [first, second], "", T + 10) == [second]

    def test_an_empty_page_with_a_token_is_no_end(self) -> None:
        plan = plan_of("a")
        read = asked(plan, T)
        assert plan.on_page(read, [], "next", T) == []
        assert asked(plan, T) is read
        assert read.token == "next"

    def test_open_chains_take_turns(self) -> None:
        plan = plan_of("a")
        first = asked(plan, T)
        plan.add("b", T, T)
        plan.on_page(first, [line("a", T, "1")], "next", T)
        second = asked(plan, T)
        assert second.uids == ["a"]
        plan.on_page(second, [], "next", T)
        third = asked(plan, T)
        plan.on_page(third, [], "more", T)
        assert {tuple(asked(plan, T).uids), tuple(third.uids)} == {("a",), ("b",)}

    def test_a_job_that_fills_the_page_goes_on_alone_with_the_same_start(self) -> None:
        plan = plan_of("loud", "calm")
        read = asked(plan, T)
        full = [line("loud", T + n / 1000, str(n)) for n in range(1000)]
        assert len(plan.on_page(read, full, "next", T + 1)) == 1000
        halves = [asked(plan, T + 1), asked(plan, T + 1)]
        assert sorted(half.uids[0] for half in halves) == ["calm", "loud"]
        assert {half.start for half in halves} == {T}
        assert {half.token for half in halves} == {""}
        assert {half.floor_ns for half in halves} == {full[-1].at_ns}

    def test_lines_of_another_job_are_not_shown(self) -> None:
        plan = plan_of("a")
        assert plan.on_page(asked(plan, T), [line("b", T, "1")], "", T) == []

    def test_a_job_removed_meanwhile_gets_no_more_lines(self) -> None:
        plan = plan_of("a", "b")
        read = asked(plan, T)
        plan.remove("a")
        of_b = line("b", T, "2")
        assert plan.on_page(read, [line("a", T, "1"), of_b], "", T) == [of_b]
        assert asked(plan, T + 10).uids == ["b"]

    def test_a_job_removed_while_its_chain_waits_is_not_asked_for(self) -> None:
        plan = plan_of("a", "b")
        plan.on_page(asked(plan, T), [], "next", T)
        plan.remove("a")
        assert asked(plan, T).uids == ["b"]

    def test_a_job_removed_and_added_again_is_read_again(self) -> None:
        plan = plan_of("a")
        read, first = asked(plan, T), line("a", T, "1")
        plan.remove("a")
        plan.add("a", T, T)
        assert plan.on_page(read, [first], "", T) == []
        assert plan.on_page(asked(plan, T), [first], "", T) == [first]


class TestFailures:
    def test_the_same_page_is_asked_for_again_later(self) -> None:
        plan = plan_of("a")
        read = asked(plan, T)
        plan.on_page(read, [], "next", T)
        plan.on_error(asked(plan, T), DOWN, T, 0.9)
        assert plan.next_read(T + 1) is None
        again = asked(plan, T + 2)
        assert again is read
        assert again.token == "next"

    def test_one_that_goes_on_failing_does_not_hold_up_other_jobs(self) -> None:
        plan = plan_of("a")
        for n in range(8):
            plan.on_error(asked(plan, T + 100 * n), DOWN, T + 100 * n, 0.9)
        plan.add("b", T, T + 700)
        assert asked(plan, T + 701).uids == ["b"]

    def test_a_refused_token_makes_the_chain_go_on_from_the_last_line(self) -> None:
        plan = plan_of("a")
        last = line("a", T + 5, "1")
        plan.on_page(asked(plan, T + 6), [last], "next", T + 6)
        assert plan.on_error(asked(plan, T + 6), Trouble("INVALID_ARGUMENT", "page_token"), T + 6, 0.0) == []
        again = asked(plan, T + 7)
        assert (again.token, again.floor_ns) == ("", last.at_ns)
        assert plan.on_page(again, [last], "", T + 7) == []

    def test_a_spent_quota_halves_the_allowance_and_pauses(self) -> None:
        plan = plan_of("a")
        plan.on_error(asked(plan, T), Trouble("RESOURCE_EXHAUSTED", "quota"), T, 0.0)
        assert plan.allowance.rate == 3000
        assert plan.next_read(T + 4.9) is None
        assert plan.next_read(T + 5) is not None

    def test_a_missing_permission_is_told_at_once_and_once(self) -> None:
        plan = plan_of("a", "b")
        denied = Trouble("PERMISSION_DENIED", "logging.logEntries.list")
        assert plan.on_error(asked(plan, T), denied, T, 0.0) == ["a", "b"]
        assert plan.on_error(asked(plan, T + 5), denied, T + 5, 0.0) == []

    def test_a_blip_is_not_told(self) -> None:
        plan = plan_of("a")
        told = [plan.on_error(asked(plan, T + 100 * n), DOWN, T + 100 * n, 0.0) for n in range(6)]
        assert told == [[], [], [], ["a"], [], []]

    def test_a_log_that_cannot_be_read_is_given_up_after_the_jobs_end_only(self) -> None:
        plan = plan_of("a")
        plan.on_error(asked(plan, T), DOWN, T, 0.0)
        assert plan.unreadable(T + 1000) == []
        plan.ended("a", T + 1000)
        assert plan.unreadable(T + 1000) == ["a"]

    def test_one_that_fails_since_a_short_time_is_not_given_up(self) -> None:
        plan = plan_of("a")
        quiet_pass(plan, T)
        plan.ended("a", T + 50)
        plan.on_error(asked(plan, T + 50), DOWN, T + 50, 0.0)
        assert plan.unreadable(T + 169) == []
        assert plan.unreadable(T + 170) == ["a"]

    def test_a_page_in_between_starts_the_count_again(self) -> None:
        plan = plan_of("a")
        plan.on_error(asked(plan, T), DOWN, T, 0.0)
        plan.ended("a", T + 50)
        quiet_pass(plan, T + 60)
        assert plan.unreadable(T + 1000) == []


class TestSettling:
    def passes_needed(self, figures: ReadSettings, *, failed: bool) -> tuple[int, float]:
        """Passes and seconds from the end of a quiet job until its log counts as complete."""
        plan = plan_of("a", figures=figures)
        quiet_pass(plan, T)
        plan.ended("a", T + 5, failed=failed)
        passes, now = 0, T + 5
        while not plan.settled():
            now += 0.5
            read = plan.next_read(now)
            if read is not None:
                plan.on_page(read, [], "", now)
                passes += 1
            assert now < T + 1000
        return passes, now - T - 5

    def test_after_a_success_it_takes_twenty_quiet_seconds(self) -> None:
        passes, seconds = self.passes_needed(FIGURES, failed=False)
        assert passes >= 3
        assert 20 <= seconds <= 31

    def test_after_a_failure_it_takes_a_minute(self) -> None:
        passes, seconds = self.passes_needed(FIGURES, failed=True)
        assert passes >= 6
        assert 60 <= seconds <= 71

    def test_strictly_it_takes_the_bound(self) -> None:
        _, seconds = self.passes_needed(replace(FIGURES, settle=None), failed=False)
        assert 120 <= seconds <= 131

    def test_with_a_local_batch_it_takes_about_a_second(self) -> None:
        _, seconds = self.passes_needed(for_endpoint(Endpoint.local("127.0.0.1:1")), failed=False)
        assert seconds <= 1.5

    def test_a_new_line_starts_the_quiet_again(self) -> None:
        plan = plan_of("a")
        quiet_pass(plan, T)
        plan.ended("a", T + 1)
        quiet_pass(plan, T + 10)
        quiet_pass(plan, T + 20)
        late = line("a", T + 1, "1", received=T + 28)
        assert plan.on_page(asked(plan, T + 30), [late], "", T + 30) == [late]
        quiet_pass(plan, T + 40)
        assert plan.settled() == []
        quiet_pass(plan, T + 50)
        quiet_pass(plan, T + 60)
        assert plan.settled() == ["a"]

    def test_never_while_a_chain_is_open(self) -> None:
        plan = plan_of("a", figures=replace(FIGURES, settle=(1, 0.0)))
        quiet_pass(plan, T)
        plan.ended("a", T + 1)
        quiet_pass(plan, T + 2)
        assert plan.settled() == ["a"]
        read = asked(plan, T + 12)
        assert plan.settled() == []
        plan.on_page(read, [], "next", T + 12)
        assert plan.settled() == []

    def test_the_end_makes_the_log_due_at_once(self) -> None:
        plan = plan_of("a")
        quiet_pass(plan, T)
        plan.ended("a", T + 1)
        assert asked(plan, T + 1).uids == ["a"]

    def test_a_job_that_lives_never_settles(self) -> None:
        plan = plan_of("a")
        for n in range(50):
            quiet_pass(plan, T + 10 * n)
        assert plan.settled() == []

    def test_what_is_not_known_is_no_error(self) -> None:
        plan = plan_of()
        plan.ended("a", T)
        plan.remove("a")
        assert plan.behind("a", T) == 0


class TestLag:
    def test_a_log_read_in_time_says_nothing(self) -> None:
        plan = plan_of("a")
        for n in range(100):
            quiet_pass(plan, T + 10 * n)
            assert plan.lag_news(T + 10 * n + 9) == []

    def test_an_unusual_lag_is_said_once_and_at_each_doubling(self) -> None:
        plan, said = plan_of("a"), []
        quiet_pass(plan, T)
        for second in range(0, 2000, 5):
            said += [(second, uid) for uid, _ in plan.lag_news(T + second)]
        assert said == [(65, "a"), (195, "a"), (455, "a"), (975, "a")]

    def test_what_an_outage_held_up_is_no_lag(self) -> None:
        plan, said = plan_of("a"), []
        quiet_pass(plan, T)
        for n in range(2, 60):
            plan.on_error(asked(plan, T + 7 * n), DOWN, T + 7 * n, 0.0)
            said += plan.lag_news(T + 7 * n + 3)
        quiet_pass(plan, T + 500)
        assert said + plan.lag_news(T + 501) == []

    def test_the_words_say_that_nothing_is_lost(self) -> None:
        plan = plan_of("a")
        quiet_pass(plan, T)
        ((_, words),) = plan.lag_news(T + 300)
        assert "6 min 0 s late" in words
        assert "none is lost" in words

    def test_a_log_just_adopted_says_nothing_before_it_was_read(self) -> None:
        plan = ReadPlan(FIGURES, T)
        plan.add("a", T - 50_000, T)
        assert plan.lag_news(T) == []


class Printers:
    """Cloud Logging with jobs that print steadily, by Google's figures: entries are findable as soon as received.

    :param rates: lines a second of each job.
    """

    def __init__(self, rates: dict[str, float]) -> None:
        self.rates = rates
        self.shown: dict[str, list[int]] = {uid: [] for uid in rates}
        self.lags: dict[str, float] = dict.fromkeys(rates, 0.0)
        self.read_at: dict[str, float] = dict.fromkeys(rates, T)
        self.pauses: dict[str, float] = dict.fromkeys(rates, 0.0)
        self.reads = 0

    def run(self, plan: ReadPlan, seconds: float) -> None:
        for uid in self.rates:
            plan.add(uid, T, T)
        now = T
        while now < T + seconds:
            read = plan.next_read(now)
            if read is None:
                now += 0.25
                continue
            self.reads += 1
            page, token = self.page(read, now)
            for new in plan.on_page(read, page, token, now):
                self.shown[new.uid].append(int(new.insert_id))
                self.lags[new.uid] = max(self.lags[new.uid], now - new.at_ns / 1e9)
            for uid in read.uids:
                self.pauses[uid] = max(self.pauses[uid], now - self.read_at[uid])
                self.read_at[uid] = now
            now += 0.1

    def page(self, read: Pass, now: float) -> tuple[list[Line], str]:
        after = int(read.token) if read.token else -1
        until_ns = min(ns(now), read.until_ns or ns(now))
        found: list[Line] = []
        for uid in read.uids:
            rate = self.rates[uid]
            if not rate:
                continue
            least = max(read.since_ns, read.floor_ns, after + 1) / 1e9 - T
            first = max(0, int(least * rate) - 1)
            for n in range(first, first + 1010):
                at_ns = ns(T + n / rate)
                if max(read.since_ns, read.floor_ns, after + 1) <= at_ns < until_ns:
                    found.append(Line(uid, "batch_task_logs", at_ns, at_ns, str(n), "INFO", "", ""))
        found.sort(key=lambda entry: entry.at_ns)
        return found[:1000], str(found[999].at_ns) if len(found) > 1000 else ""


class TestManyJobs:
    QUIET = dict.fromkeys((f"quiet-{n}" for n in range(200)), 0.0)

    @pytest.mark.parametrize(
        ("chatty", "share"),
        [({"one": 1700.0}, 0.45), ({"one": 700.0}, 0.55), ({"one": 400.0, "two": 401.0, "three": 399.0}, 0.65)],
    )
    def test_jobs_that_print_more_than_the_quota_lets_us_read_delay_no_other(
        self, chatty: dict[str, float], share: float
    ) -> None:
        """:param share: of what the reads could bring, first minutes included: each line is soon read once only."""
        printers = Printers(self.QUIET | {"calm": 1.0} | chatty)
        printers.run(ReadPlan(ReadSettings(), T), 600)
        assert printers.reads <= 5 + 600 * 50 / 60
        assert max(printers.pauses[uid] for uid in self.QUIET) < 30
        assert printers.lags["calm"] < 50
        for uid in chatty:
            assert printers.shown[uid] == list(range(len(printers.shown[uid])))
        assert sum(len(printers.shown[uid]) for uid in chatty) > share * printers.reads * 1000

    def test_what_the_quota_can_pay_for_is_shown_at_once(self) -> None:
        printers = Printers(self.QUIET | {"busy": 50.0, "calm": 1.0})
        printers.run(ReadPlan(ReadSettings(), T), 300)
        assert printers.lags["busy"] < 25
        assert printers.lags["calm"] < 25
        assert printers.shown["busy"] == list(range(len(printers.shown["busy"])))

    def test_a_thousand_quiet_jobs_cost_few_reads(self) -> None:
        printers = Printers(dict.fromkeys((f"job-{n:040d}" for n in range(1000)), 0.0))
        printers.run(ReadPlan(ReadSettings(), T), 120)
        assert printers.reads <= 60
        assert max(printers.pauses.values()) < 20

    def test_what_is_remembered_stays_bounded(self) -> None:
        plan = ReadPlan(ReadSettings(), T)
        Printers({"one": 300.0}).run(plan, 300)
        assert len(plan._logs["one"].seen) < 300 * 130


class TestFigures:
    def test_of_google_are_those_of_the_endpoint(self) -> None:
        figures = for_endpoint(Endpoint())
        assert (figures.visible, figures.interval, figures.per_minute) == (60, 10, 50)
        assert (figures.settle, figures.settle_failed) == ((3, 20.0), (6, 60.0))

    def test_of_a_local_batch_are_about_a_second(self) -> None:
        figures = for_endpoint(Endpoint.local("127.0.0.1:1"))
        assert figures.visible <= 1
        assert figures.interval <= 1
        assert figures.per_minute > 600

    @pytest.mark.parametrize("endpoint", [Endpoint(), Endpoint.local("127.0.0.1:1")])
    def test_the_endpoint_can_carry_its_own(self, endpoint: Endpoint) -> None:
        figures = for_endpoint(replace(endpoint, settle=(9, 90.0), log_visible=7.0))
        assert (figures.settle, figures.visible) == ((9, 90.0), 7.0)


class TestALogThatIsShownTooSlowly:
    def test_is_read_no_further_while_the_others_go_on(self) -> None:
        plan = plan_of("slow", "other")
        plan.hold("slow", True)
        assert asked(plan, T).uids == ["other"]

    def test_waits_in_the_middle_of_its_chain_of_pages(self) -> None:
        plan = plan_of("slow")
        plan.on_page(asked(plan, T), [line("slow", T, "1")], "more", T)
        plan.hold("slow", True)
        assert plan.next_read(T + 60) is None

    def test_goes_on_where_it_was(self) -> None:
        plan = plan_of("slow")
        plan.on_page(asked(plan, T), [line("slow", T, "1")], "more", T)
        plan.hold("slow", True)
        plan.hold("slow", False)
        assert asked(plan, T + 60).token == "more"
