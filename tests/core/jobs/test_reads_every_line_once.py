"""No line is lost or doubled, whatever the order of arrival, within the one bound; and the test can tell.

A simulated Cloud Logging: entries arrive late and out of order, become findable later still, come twice from an agent
that retries, in pages that may be empty, over calls that fail. The mutants below are mistakes that were really made or
nearly so; each must be caught by the same property.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_batchstream.core.jobs import reads
from airflow_batchstream.core.jobs.model import Line, Trouble
from airflow_batchstream.core.jobs.read_settings import ReadSettings
from airflow_batchstream.core.jobs.times import ns

FIGURES = ReadSettings(
    visible=6,
    arrival=5,
    late=6,
    interval=2,
    per_minute=600,
    page=4,
    chars=40,
    settle=None,
    settle_failed=None,
    live_pages=3,
    late_pages=3,
    remember=40,
    many=10_000,
)
TROUBLES = {
    "429": Trouble("RESOURCE_EXHAUSTED", "quota"),
    "error": Trouble("UNAVAILABLE", "not now"),
    "token": Trouble("INVALID_ARGUMENT", "page_token"),
}
BETWEEN_LOST_TOKENS = 60
"""Steps: a run of equal timestamps that is longer than the pages between two lost tokens would never end."""


@dataclass(frozen=True)
class PrintedLine:
    """Seconds before the job's end, until received, until findable; and whether the agent sends it twice."""

    before_end: float
    to_received: float
    to_findable: float
    twice: bool


@dataclass(frozen=True)
class PrintingJob:
    created: float
    length: float
    lines: tuple[PrintedLine, ...]
    burst: bool

    @property
    def ended(self) -> float:
        return self.created + self.length


@dataclass(frozen=True)
class Findable:
    at: float
    line: Line


class CloudLogging:
    """``entries.list`` by time, with the entries that are findable when it is asked."""

    def __init__(self, entries: list[Findable]) -> None:
        self.entries = sorted(entries, key=lambda e: (e.line.at_ns, int(e.line.insert_id), e.line.received_ns))

    def page(self, asked: Any, now: float, size: int) -> tuple[list[Line], str]:
        after, query = (-1, -1), asked.filter("p")
        if asked.token:
            *place_of_last, for_query = asked.token.split(" ", 2)
            assert for_query == query, "a token goes with the query that gave it"
            after = (int(place_of_last[0]), int(place_of_last[1]))
        uids, found, ids = set(asked.uids), list[Line](), set[str]()
        for entry in self.entries:
            line = entry.line
            place = (line.at_ns, int(line.insert_id))
            fits = (
                entry.at <= now
                and line.uid in uids
                and line.at_ns >= asked.floor_ns
                and line.received_ns >= asked.since_ns
                and (asked.until_ns is None or line.received_ns < asked.until_ns)
                and place > after
                and line.insert_id not in ids  # one result holds no duplicate
            )
            if not fits:
                continue
            if len(found) == size:
                return found, f"{found[-1].at_ns} {found[-1].insert_id} {query}"
            ids.add(line.insert_id)
            found.append(line)
        return found, ""


def printed(jobs: list[PrintingJob]) -> list[Findable]:
    """What the jobs print, as Cloud Logging gets it: all is received before ``arrival`` after the job's end."""
    found, count = [], 0
    for number, job in enumerate(jobs):
        for line in job.lines * (3 if job.burst else 1):
            count += 1
            at = max(job.created, job.ended - line.before_end)
            received = min(at + line.to_received, job.ended + FIGURES.arrival - 0.01)
            entry = Line(f"job-{number}", "batch_task_logs", ns(at), ns(received), str(count), "INFO", "", "")
            found.append(Findable(received + line.to_findable, entry))
            if line.twice:
                again = replace(entry, received_ns=ns(received + 1))
                found.append(Findable(received + 1 + line.to_findable, again))
    return found


def read_all(
    plan_of: Any, jobs: list[PrintingJob], faults: list[str], figures: ReadSettings, travel: float
) -> Counter[str]:
    """Drive a plan until all logs are settled; how often each line was shown."""
    plan, server, shown = plan_of(figures, 0.0), CloudLogging(printed(jobs)), Counter[str]()
    ends = {f"job-{number}": job.ended for number, job in enumerate(jobs)}
    now, step, token_lost_at = 0.0, 0, -99
    faults = [*faults, *["ok"] * 4]
    for number, job in enumerate(jobs):
        plan.add(f"job-{number}", job.created, job.created)
    pending = set(ends)
    while pending:
        assert now < 3000, f"never settled: {sorted(pending)}"
        for uid, at in ends.items():
            if now >= at + 1:
                plan.ended(uid, at)
        asked = plan.next_read(now)
        if asked is not None:
            fault = faults[step % len(faults)]
            step += 1
            if fault == "token" and (not asked.token or step - token_lost_at < BETWEEN_LOST_TOKENS):
                fault = "error"
            if fault == "token":
                token_lost_at = step
            if fault in TROUBLES:
                plan.on_error(asked, TROUBLES[fault], now, 0.0)
            elif fault == "empty" and asked.token:  # no time to search: no entries, the same place
                assert plan.on_page(asked, [], asked.token, now) == []
            else:
                page, token = server.page(asked, now, figures.page)
                now += travel  # more arrives while the answer travels
                shown.update(line.insert_id for line in plan.on_page(asked, page, token, now))
            for uid in plan.settled():
                plan.remove(uid)
                pending.discard(uid)
        now += 0.25
    return shown


def check_each_line_once(
    plan_of: Any, jobs: list[PrintingJob], faults: list[str], remember: float, travel: float
) -> None:
    if not remember:  # a line sent twice is then known only within `visible`
        jobs = [replace(job, lines=tuple(replace(line, twice=False) for line in job.lines)) for job in jobs]
    shown = read_all(plan_of, jobs, faults, replace(FIGURES, remember=remember), travel)
    expected = {entry.line.insert_id for entry in printed(jobs)}
    assert set(shown) == expected, "lost"
    assert not [line for line, times in shown.items() if times > 1], "doubled"


def quarters(least: int, most: int) -> st.SearchStrategy[float]:
    """Coarse times, so that many coincide."""
    return st.integers(least * 4, most * 4).map(lambda n: n / 4)


LINES = st.builds(PrintedLine, quarters(0, 20), quarters(0, 5), quarters(0, 6), st.booleans())
JOBS = st.builds(PrintingJob, quarters(0, 10), quarters(1, 25), st.lists(LINES, max_size=30).map(tuple), st.booleans())
FAULTS = st.lists(st.sampled_from(["ok"] * 6 + [*TROUBLES, "empty"]), min_size=1, max_size=40)
PASSAGES = (st.lists(JOBS, min_size=1, max_size=6), FAULTS, st.sampled_from([0, 40]), st.sampled_from([0.25, 1, 3]))


class TestEachLineOnce:
    @settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
    @given(*PASSAGES)
    def test_whatever_arrives_when_each_line_is_shown_exactly_once(
        self, jobs: list[PrintingJob], faults: list[str], remember: float, travel: float
    ) -> None:
        check_each_line_once(reads.ReadPlan, jobs, faults, remember, travel)


@dataclass(frozen=True)
class Mutant:
    """A mistake in ``reads.py``: ``was``, which stands there once, replaced by ``becomes``."""

    name: str
    was: str
    becomes: str


CLOSED = "closed_ns = min(upto_ns, ns(chain.start - settings.visible))"
MUTANTS = (
    Mutant(
        "since moves to the newest entry seen, less visible",
        CLOSED,
        "closed_ns = max((at for log in chain.jobs for at in log.seen.values()), default=0) - ns(settings.visible)",
    ),
    Mutant(
        "since moves to the pass's end, less visible", CLOSED, "closed_ns = min(upto_ns, ns(now - settings.visible))"
    ),
    Mutant("since moves to the pass's start", CLOSED, "closed_ns = upto_ns"),
    Mutant("nothing is remembered", "if known_as in log.seen:", "if False:"),
    Mutant("an entry at the bound is forgotten", "if at >= keep_ns", "if at > keep_ns"),
    Mutant(
        "entries are forgotten by their own time",
        "log.seen[known_as] = line.received_ns",
        "log.seen[known_as] = line.at_ns",
    ),
    Mutant("what an agent sends again is not remembered", "ns(settings.remember) if", "0 if"),
    Mutant(
        "what was shown before since is shown again",
        "if line.received_ns < log.since_ns:",
        "if line.received_ns < log.since_ns - 5 * NS:",
    ),
    Mutant(
        "jobs that share a query start at the latest since",
        "since_ns = min(log.since_ns for log in chosen)",
        "since_ns = max(log.since_ns for log in chosen)",
    ),
    Mutant(
        "jobs that share a query start at the latest floor",
        "min(self._floor_ns(log) for",
        "max(self._floor_ns(log) for",
    ),
    Mutant(
        "a chain goes on behind the last time, not at it",
        "max(self.floor_ns, self.last_ns)",
        "max(self.floor_ns, self.last_ns + 1)",
    ),
    Mutant(
        "a job split off gets a later start",
        "Pass([loud], chain.start, loud.since_ns",
        "Pass([loud], chain.start + 1.5, loud.since_ns",
    ),
    Mutant(
        "the others keep the token of the query they shared",
        "chain.jobs.remove(loud)\n                chain.go_on_without_token()",
        "chain.jobs.remove(loud)",
    ),
    Mutant(
        "a log is complete once it was read up to the bound, findable or not",
        "log.since_ns >= ns(log.ended + self.settings.arrival)",
        "log.passed >= log.ended + self.settings.arrival",
    ),
    Mutant("a read that failed is forgotten", "self._open.insert(0, failed)", "pass"),
    Mutant(
        "a late pass ends at its start",
        "if chain.until_ns is None else chain.until_ns\n        closed",
        "\n        closed",
    ),
)


@contextmanager
def mutated(mutant: Mutant) -> Iterator[ModuleType]:
    """``reads.py`` with one mistake, as a module of its own."""
    source = Path(reads.__file__).read_text()
    assert source.count(mutant.was) == 1, f"{mutant.was!r} stands {source.count(mutant.was)} times in reads.py"
    module = ModuleType("reads_mutated")
    sys.modules[module.__name__] = module  # where dataclasses look their annotations up
    try:
        exec(compile(source.replace(mutant.was, mutant.becomes), mutant.name, "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]


def property_of(plan_of: Callable[..., Any], examples: int) -> Callable[[], None]:
    """The property above for another plan: always the same examples, and no search for a smaller one."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(*PASSAGES)
    def check(jobs: list[PrintingJob], faults: list[str], remember: float, travel: float) -> None:
        check_each_line_once(plan_of, jobs, faults, remember, travel)

    return check


class TestMutants:
    @pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
    def test_each_mistake_is_caught(self, mutant: Mutant) -> None:
        with mutated(mutant) as module, pytest.raises(AssertionError, match=r"lost|doubled|settled|query"):
            property_of(module.ReadPlan, 1000)()

    def test_the_unchanged_source_passes_the_same_way(self) -> None:
        property_of(reads.ReadPlan, 100)()
