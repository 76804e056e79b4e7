"""What the task log is told while a job is waited for: status events, trouble with the API, and its end."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace

from airflow_batchstream.core.jobs import patience
from airflow_batchstream.core.jobs.model import Event, Sight, Trouble
from airflow_batchstream.core.jobs.waits import News, Watch

_REMEMBERED = 1000
"""Most marks of events that are kept; Batch itself lists far fewer."""

_ALARMING = (
    "fail",
    "error",
    "quota",
    "exceed",
    "exhaust",
    "unavailable",
    "not available",
    "preempt",
    "denied",
    "stockout",
)


def of_events(watch: Watch, events: Iterable[Event]) -> tuple[Watch, tuple[News, ...]]:
    """The events not told before, oldest first.

    Batch may shorten or reorder its list, so an event is known by its time and words, not by its place.
    """
    listed = {_mark(e): e for e in events}
    shown = set(watch.events_shown)
    new = sorted((e for mark, e in listed.items() if mark not in shown), key=lambda e: e.at)
    if not new:
        return watch, ()
    unlisted = [mark for mark in watch.events_shown if mark not in listed]
    marks = (*unlisted, *listed)[-max(_REMEMBERED, len(listed)) :]
    return replace(watch, events_shown=marks), tuple(News(_level(e), e.says, e.at) for e in new)


def _mark(event: Event) -> str:
    return hashlib.blake2b(f"{event.at!r}\0{event.kind}\0{event.says}".encode(), digest_size=6).hexdigest()


def _level(event: Event) -> int:
    """A quota stall or a lost VM must catch the eye: nothing else tells of it while the job waits."""
    says = event.says.lower()
    return logging.WARNING if any(word in says for word in _ALARMING) else logging.INFO


def of_state(watch: Watch, sight: Sight, told: tuple[News, ...]) -> tuple[News, ...]:
    """The job's state, if it is new and no event just told it."""
    if sight.state is watch.state or any(sight.state in news.text for news in told):
        return ()
    return (News(logging.INFO, f"The job is {sight.state}."),)


def of_trouble(watch: Watch) -> tuple[News, ...]:
    """The last failure, at the first of a row and then at each doubling."""
    if not patience.worth_saying(watch.errors):
        return ()
    so_often = "" if watch.errors == 1 else f", {watch.errors} times in a row"
    says = f"Batch could not be asked for the job{so_often} ({watch.error}). Trying again; the job itself goes on."
    return (News(logging.WARNING, says),)


def of_recovery(watch: Watch) -> tuple[News, ...]:
    """That the API answers again, after trouble."""
    if not watch.errors:
        return ()
    times = "once" if watch.errors == 1 else f"{watch.errors} times"
    return (News(logging.INFO, f"Batch answers again, after it failed {times}."),)


def words(trouble: Trouble) -> str:
    """A failure on one line, of bounded length."""
    message = " ".join(trouble.message.split())
    if len(message) > 500:
        message = message[:499] + "…"
    return f"{trouble.code}: {message}" if message else trouble.code
