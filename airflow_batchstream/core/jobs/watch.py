"""The wait for a job's end, one decision at a time.

``jobs.get`` (or its failure) -> :func:`decide` -> what to do next. The hub is the only caller; it sleeps, asks, cancels
and prints, and knows nothing of states or deadlines::

    sight | trouble --decide--> Wait(seconds)   sleep, ask again
                            --> Cancel(reason)  ask Batch to cancel, tell after_cancel, then as Wait
                            --> Ended(reason)   leave

A :class:`Watch` is all that the wait remembers. It is plain data, goes through JSON, and *is* a trigger's arguments: a
wait goes on from it on another machine. Invariants:

- The job's state decides. A job that ended by itself wins over a deadline that passed meanwhile.
- Transient trouble never ends a wait; only the deadlines do. Without a deadline it goes on.
- Each status event is news once, in the order of its time.
- No pause lasts beyond the next deadline.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from airflow_batchstream.core.jobs import deadlines, events, goal, news, patience
from airflow_batchstream.core.jobs.deadlines import EXECUTION_MARGIN
from airflow_batchstream.core.jobs.model import Sight, State, Trouble
from airflow_batchstream.core.jobs.waits import Cancel, Ended, News, Reason, Step, Wait, Watch

__all__ = [
    "EXECUTION_MARGIN",
    "Cancel",
    "Ended",
    "News",
    "Reason",
    "Step",
    "Wait",
    "Watch",
    "after_cancel",
    "decide",
]

_CANCEL_NEEDLESS = frozenset({"FAILED_PRECONDITION", "NOT_FOUND"})
"""A cancel refused because the job is ending, has ended or is gone: the next look tells."""

_CANCEL_CAP = 20.0
"""Longest pause between two tries to cancel: each second is paid for."""


def decide(watch: Watch, seen: Sight | Trouble, now: float, rnd: float) -> tuple[Watch, Step]:
    """What to do after a look at the job.

    :param seen: what ``jobs.get`` answered, or how it failed.
    :param now: the wall clock.
    :param rnd: evenly spread over [0, 1), for the jitter of pauses.
    """
    if isinstance(seen, Trouble):
        return _after_trouble(watch, seen, now, rnd)
    return _after_sight(watch, seen, now)


def after_cancel(watch: Watch, trouble: Trouble | None, now: float, rnd: float) -> tuple[Watch, Wait]:
    """What to do after a :class:`Cancel` was tried.

    :param trouble: how ``jobs.cancel`` failed, or None if Batch took it. A cancel that failed is tried again after the
        next look at the job, until ``cancel_wait`` is over.
    """
    if trouble is None or trouble.code in _CANCEL_NEEDLESS:
        watch = replace(watch, cancel_sent_at=now, cancel_error="")
        return watch, Wait(deadlines.poll(watch, now))
    words = news.words(trouble)
    watch = replace(watch, cancel_tries=watch.cancel_tries + 1, cancel_error=words)
    seconds = patience.backoff(watch.cancel_tries, rnd, cap=_CANCEL_CAP, retry_after=trouble.retry_after)
    said: tuple[News, ...] = ()
    if patience.worth_saying(watch.cancel_tries):
        said = (News(logging.WARNING, f"The job could not be cancelled ({words}). Trying again."),)
    return watch, Wait(deadlines.clipped(watch, seconds, now), said)


def _after_sight(watch: Watch, sight: Sight, now: float) -> tuple[Watch, Step]:
    said = news.of_recovery(watch)
    watch = replace(
        watch, errors=0, errors_since=None, refusals=0, refused_since=None, refused_code="", error_code="", error=""
    )
    if watch.uid and sight.uid and sight.uid != watch.uid:
        words = f"Another job has taken the name {watch.job.job_id} (uid {sight.uid}): ours, {watch.uid}, was deleted."
        return watch, Ended(Reason.GONE, None, (*said, News(logging.ERROR, words)))
    watch, told = news.of_events(watch, sight.events)
    said = (*said, *told, *news.of_state(watch, sight))
    watch = replace(
        watch,
        uid=watch.uid or sight.uid,
        created=watch.created or sight.created,
        state=sight.state,
        running_since=watch.running_since or _running_since(sight, now),
    )
    if goal.reached(watch.wait_for, sight.state):
        return watch, Ended(Reason.REACHED, sight, said)
    if sight.state.ended:
        return watch, Ended(_reason_of_end(watch, sight.state), sight, said)
    watch, step = _keep_deadlines(watch, sight, now, said)
    return watch, step or Wait(deadlines.poll(watch, now), said)


def _running_since(sight: Sight, now: float) -> float | None:
    """When the job began to run: as its events tell, since it may have gone on from RUNNING between two looks."""
    told = events.when(sight.events, State.RUNNING)
    return now if told is None and sight.state is State.RUNNING else told


def _reason_of_end(watch: Watch, state: State) -> Reason:
    """Our own cancel is told by its deadline, any other end by the job's state."""
    ours = state is State.CANCELLED and watch.cancel_reason and watch.cancel_sent_at is not None
    return Reason(watch.cancel_reason) if ours else Reason.STATE


def _after_trouble(watch: Watch, trouble: Trouble, now: float, rnd: float) -> tuple[Watch, Step]:
    watch = _count(watch, trouble, now)
    said = news.of_trouble(watch)
    if trouble.code == "NOT_FOUND":
        if _absence_is_final(watch, now):
            ours = watch.cancel_reason and watch.cancel_sent_at is not None
            return watch, Ended(Reason(watch.cancel_reason) if ours else Reason.GONE, None, said)
    else:
        watch, step = _keep_deadlines(watch, None, now, said)
        if step is not None:
            return watch, step
    if trouble.transient:
        seconds = patience.backoff(watch.errors, rnd, retry_after=trouble.retry_after)
    elif trouble.code != "NOT_FOUND" and patience.refusal_is_final(watch.refusals, watch.refused_since or now, now):
        return watch, Ended(Reason.REFUSED, None, said)
    else:
        seconds = patience.refusal_backoff(watch.refusals, rnd)
    return watch, Wait(deadlines.clipped(watch, seconds, now), said)


def _count(watch: Watch, trouble: Trouble, now: float) -> Watch:
    """Note a failure; a refusal counts from the first answer of its kind, transient trouble in between or not."""
    watch = replace(
        watch,
        errors=watch.errors + 1,
        errors_since=now if watch.errors_since is None else watch.errors_since,
        error_code=trouble.code,
        error=news.words(trouble),
    )
    if trouble.transient:
        return watch
    if trouble.code != watch.refused_code:
        return replace(watch, refusals=1, refused_since=now, refused_code=trouble.code)
    return replace(watch, refusals=watch.refusals + 1)


def _absence_is_final(watch: Watch, now: float) -> bool:
    being_deleted = watch.state is not None and watch.state.ending
    return patience.absence_is_final(
        seen_before=watch.state is not None,
        ending=being_deleted or watch.cancel_sent_at is not None,
        since=now if watch.refused_since is None else watch.refused_since,
        now=now,
    )


def _keep_deadlines(
    watch: Watch, sight: Sight | None, now: float, said: tuple[News, ...]
) -> tuple[Watch, Wait | Cancel | Ended | None]:
    """The step that a deadline demands; None while none has passed."""
    if watch.cancel_reason:
        return watch, _keep_cancelling(watch, sight, now, said)
    reason = deadlines.passed(watch, now)
    if reason is None:
        return watch, None
    asked_for_already = watch.state is not None and watch.state.ending
    if not watch.cancel_on_timeout or asked_for_already:
        return watch, Ended(reason, sight, said)
    watch = replace(watch, cancel_reason=str(reason), cancel_since=now)
    words = f"Cancelling the job: {deadlines.words(watch, reason)}."
    return watch, Cancel(reason, (*said, News(logging.WARNING, words)))


def _keep_cancelling(watch: Watch, sight: Sight | None, now: float, said: tuple[News, ...]) -> Step:
    """Until the job has ended: the cancel again if it was not taken, else patience, both bounded."""
    reason = Reason(watch.cancel_reason)
    if now >= deadlines.cancel_until(watch):
        return Ended(reason, sight, said)
    if watch.cancel_sent_at is None:
        return Cancel(reason, said)
    return Wait(deadlines.poll(watch, now), said)
