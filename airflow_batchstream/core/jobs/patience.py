"""How long trouble with Google's API is borne, and when it is worth a word.

Part of the wait: :func:`~airflow_batchstream.core.jobs.watch.decide` asks here after each call that failed.
"""

from __future__ import annotations

CAP_SECONDS = 60.0
"""Longest pause between two tries."""

REFUSAL_SECONDS = 90.0
"""How long a refused permission is borne: a role just granted takes a minute or two, a token a moment, to be known."""

REFUSAL_TRIES = 4
"""Fewest tries before a refusal is believed."""

UNKNOWN_JOB_SECONDS = 30.0
"""How long NOT_FOUND is borne for a job that was just created and never seen: reads may lag behind the create."""

GONE_SECONDS = 5.0
"""How long NOT_FOUND is borne for a job that was seen before, so that one stray answer ends no wait."""

_RETRY_AFTER_CAP = 300.0
_LEAST = 0.5


def backoff(tries: int, rnd: float, *, cap: float = CAP_SECONDS, retry_after: float | None = None) -> float:
    """Seconds to pause after the ``tries``-th failure in a row: full jitter over an exponentially growing span.

    :param rnd: evenly spread over [0, 1), drawn by the caller: with it, a thousand waits do not come back at once.
    :param retry_after: what the server asked for; never undercut, and believed up to five minutes.
    """
    span = min(cap, 2.0 ** min(max(tries, 1), 16))
    asked = min(retry_after or 0.0, _RETRY_AFTER_CAP)
    return max(asked, _LEAST, rnd * span)


def worth_saying(tries: int) -> bool:
    """Whether the ``tries``-th failure in a row is said: the first, the fourth, then at each doubling."""
    return tries == 1 or (tries >= 4 and tries & (tries - 1) == 0)


def refusal_is_final(tries: int, since: float, now: float) -> bool:
    """Whether a refusal that began at ``since`` has lasted long enough to be believed."""
    return tries >= REFUSAL_TRIES and now - since >= REFUSAL_SECONDS


def absence_is_final(*, seen_before: bool, ending: bool, since: float, now: float) -> bool:
    """Whether NOT_FOUND means that the job is gone.

    :param seen_before: whether this watch has seen the job at all.
    :param ending: whether it was last seen being deleted: then NOT_FOUND is the expected end.
    """
    return ending or now - since >= (GONE_SECONDS if seen_before else UNKNOWN_JOB_SECONDS)


def refusal_backoff(tries: int, rnd: float) -> float:
    """Pause between two tries while a refusal or an absence is not believed yet: often enough to notice its end."""
    return backoff(tries, rnd, cap=REFUSAL_SECONDS / REFUSAL_TRIES)
