"""Which state of a job is waited for, and whether a job has come into it.

A job goes QUEUED -> SCHEDULED -> RUNNING -> SUCCEEDED, or leaves this way for FAILED or CANCELLED. Between two looks it
may pass through a state unseen: whoever waits for RUNNING is content with SUCCEEDED. A bad end is never contentment,
unless it is what was waited for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.model import State
from airflow_batchstream.core.jobs.scalars import templated

_WAY = (State.QUEUED, State.SCHEDULED, State.RUNNING, State.SUCCEEDED)
STATES = (*_WAY, State.FAILED, State.CANCELLED)
"""What may be waited for."""


def read(value: Any) -> tuple[str, ...]:
    """``wait_for`` as the user gives it, one state or several, -> those of a Watch; empty for the good end alone.

    :raises InvalidInput: for anything that is none of :data:`STATES`.
    """
    several = isinstance(value, list | tuple | set | frozenset)
    names = [str(name).strip().upper() for name in value] if several else [str(value).strip().upper()]
    found = [_refused(name) for name in names if name not in STATES]
    if not names:
        found = [_refused("")]
    if found:
        raise InvalidInput(found, lead="The arguments are wrong")
    wanted = tuple(dict.fromkeys(names))
    return () if wanted == (State.SUCCEEDED,) else wanted


def literal(value: Any) -> bool:
    """Whether the Dag's author wrote it out: a state, or a list of states, without a template or an XCom value."""
    if isinstance(value, list | tuple | set | frozenset):
        return all(literal(one) for one in value)
    return isinstance(value, str) and not templated(value)


def reached(wanted: Iterable[str], state: State) -> bool:
    """Whether a job in this state is, or was on its way here, in one of those."""
    passed = _WAY[: _WAY.index(state) + 1] if state in _WAY else (state,)
    return any(one in passed for one in wanted)


def _refused(name: str) -> Finding:
    near = difflib.get_close_matches(name, STATES, 1)
    remedy = f"Did you mean {near[0]}?" if near else "Leave it out to wait for the job's good end."
    says = f"{name!r} is none of {', '.join(STATES)}."
    return Finding("wait-for", Verdict.BROKEN, "wait_for", name, says, remedy)
