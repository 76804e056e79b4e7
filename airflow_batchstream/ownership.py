"""Whose attempt this is, and whether it still is: all that Airflow's versions differ in about kills lives here.

Airflow stops a task with the same signal whether a user killed it or its worker shuts down. Only the first may cancel
the job. So the attempt leaves its id in XCom when it starts; later, *not a kill* is: its state is still ``running`` and
the XCom is still its own (a clear wipes it, the next attempt writes its own). Whatever cannot be told is not a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import Enum
from typing import Any

from airflow_batchstream.core.jobs.model import Owner

OWNER_KEY = "_batchstream_owner"


class Claim(Enum):
    """The answer to "is this attempt still mine?"."""

    MINE = "mine"
    LOST = "lost"
    """The user marked, cleared or killed it."""
    UNKNOWN = "unknown"


def owner_of(context: Any) -> Owner:
    """The attempt, as far as the job's identity needs it."""
    ti, run = context["ti"], context["dag_run"]
    started = getattr(run, "start_date", None)
    return Owner(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        max_tries=int(getattr(ti, "max_tries", 0) or 0),
        run_started=started.isoformat() if started else "",
        try_number=ti.try_number,
    )


def claim(context: Any) -> None:
    """Say in XCom that this attempt is the one that counts."""
    context["ti"].xcom_push(key=OWNER_KEY, value=str(context["ti"].id))


async def ask(ti: Any, *, within: float) -> Claim:
    """Ask Airflow whether this running attempt is still the one that counts.

    :param within: seconds; no answer by then is UNKNOWN. Airflow kills a task some four seconds after it said to stop.
    """
    return await _answer(asyncio.to_thread(_ask, ti, "running", str(ti.id)), within)


async def ask_deferred(ti: Any, owner: str, *, within: float) -> Claim:
    """The same of a deferred attempt, from its trigger.

    :param owner: what :func:`claim` left; a trigger's own task instance may have the id of a later attempt.
    :param within: seconds; while a triggerer shuts down the question is never answered (Airflow 3.2, 3.3).
    """
    from asgiref.sync import sync_to_async

    return await _answer(sync_to_async(_ask)(ti, "deferred", owner), within)


async def _answer(question: Coroutine[Any, Any, Claim], within: float) -> Claim:
    # Never cancelled half-way: on 3.1 the triggerer would lose its place in its supervisor's answers, and die.
    asking = asyncio.ensure_future(question)
    _asking.add(asking)
    asking.add_done_callback(_forget)
    await asyncio.wait({asking}, timeout=within)
    if not asking.done() or asking.cancelled() or asking.exception() is not None:
        return Claim.UNKNOWN  # the supervisor may be gone, the API server down, the answer an error of any kind
    return asking.result()


_asking: set[asyncio.Future[Claim]] = set()


def _forget(asked: asyncio.Future[Claim]) -> None:
    _asking.discard(asked)
    if not asked.cancelled():
        asked.exception()  # looked at, so that asyncio does not complain of an answer that came too late


def _ask(ti: Any, alive: str, owner: str) -> Claim:
    """Whether the task is still in this state, and its XCom still this owner's."""
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    mapped = ti.map_index is not None and ti.map_index >= 0
    only = {"map_index": ti.map_index} if mapped else {}
    states = RuntimeTaskInstance.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[ti.task_id], **only)
    state = states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    if state != alive:
        return Claim.LOST
    mine = BaseXCom.get_one(
        key=OWNER_KEY,
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index if mapped else None,
    )
    return Claim.MINE if mine == owner else Claim.LOST
