"""What the task log is told while a job is waited for: status events, trouble with the API, and its end."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from airflow_batchstream.core.jobs import events, patience
from airflow_batchstream.core.jobs.model import Event, Sight, Trouble
from airflow_batchstream.core.jobs.waits import News, Watch

_REMEMBERED = 1000
"""Most marks of events that are kept; Batch itself lists far fewer."""


def of_events(watch: Watch, listed_now: Iterable[Event]) -> tuple[Watch, tuple[News, ...]]:
    """The events not told before, oldest first.

    Batch may shorten or reorder its list, so an event is known by its time and words, not by its place.
    """
    listed = {events.mark(e): e for e in listed_now}
    shown = set(watch.events_shown)
    new = sorted((e for mark, e in listed.items() if mark not in shown), key=lambda e: e.at)
    if not new:
        return watch, ()
    unlisted = [mark for mark in watch.events_shown if mark not in listed]
    marks = (*unlisted, *listed)[-max(_REMEMBERED, len(listed)) :]
    said = tuple(News(events.level(e), events.short(e, watch.job.job_id), e.at) for e in new)
    return replace(watch, events_shown=marks), said


def of_state(watch: Watch, sight: Sight) -> tuple[News, ...]:
    """The job's state, if it is new and none of its events tells it."""
    if sight.state is watch.state or any(events.state_told(e) == sight.state for e in sight.events):
        return ()
    return (News(logging.INFO, f"The job is {sight.state}."),)


def of_trouble(watch: Watch) -> tuple[News, ...]:
    """The last failure, at the first of a row and then at each doubling."""
    if not patience.worth_saying(watch.errors):
        return ()
    if watch.error_code == "NOT_FOUND":
        return (News(logging.WARNING, f"Batch does not know the job ({watch.error}). Looking again, to be sure."),)
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
