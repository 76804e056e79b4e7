"""Which tasks of a job failed, and with which exit codes: read from their status events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_batchstream.core.jobs.model import TaskSight

FAILED = "FAILED"
"""``TaskStatus.State`` of a task that used up its attempts."""

_CODES_IN_RESULT = 100


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task that failed.

    :param attempts: how many executions its events tell of.
    :param exit_code: of the last one; None if no event tells one.
    :param says: its last status event, in Batch's words.
    :param at: when that happened; 0 if nothing tells.
    """

    index: int
    attempts: int
    exit_code: int | None
    says: str = ""
    at: float = 0.0


def failed_tasks(tasks: Iterable[TaskSight]) -> list[FailedTask]:
    """The failed ones, by index. A task that succeeded at a later attempt is none of them."""
    return sorted((_failed(t) for t in tasks if t.state == FAILED), key=lambda t: t.index)


def _failed(task: TaskSight) -> FailedTask:
    told = [e for e in sorted(task.events, key=lambda e: e.at) if e.exit_code]
    return FailedTask(
        task.index,
        max(1, len(told)),
        told[-1].exit_code if told else None,
        task.events[-1].says if task.events else "",
        task.events[-1].at if task.events else 0.0,
    )


def exit_codes(failed: Sequence[FailedTask], most: int = _CODES_IN_RESULT) -> dict[str, int]:
    """Task index -> exit code, for XCom: every distinct code at least once, ``most`` tasks in all."""
    told = [(t.index, t.exit_code) for t in failed if t.exit_code is not None]
    first: dict[int, int] = {}
    for index, code in told:
        first.setdefault(code, index)
    chosen = [(index, code) for code, index in first.items()]
    taken = {index for index, _ in chosen}
    chosen += [(index, code) for index, code in told if index not in taken][: max(0, most - len(chosen))]
    return {str(index): code for index, code in sorted(chosen)}


def by_code(failed: Iterable[FailedTask]) -> Mapping[int | None, int]:
    """How many tasks failed with which code, the most frequent first."""
    counts: dict[int | None, int] = {}
    for task in failed:
        counts[task.exit_code] = counts.get(task.exit_code, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
