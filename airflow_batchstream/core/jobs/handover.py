"""An outcome -> a trigger's event -> the same outcome on the worker: what ``finish`` needs, bounded in size.

The event goes through Airflow's database. So of many failed tasks only the first travel, and of the lines printed those
that the closing block would show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from airflow_batchstream.core.jobs.ends import Outcome
from airflow_batchstream.core.jobs.lines import task_index
from airflow_batchstream.core.jobs.model import Event, Line, Sight, State, TaskSight
from airflow_batchstream.core.jobs.waits import Reason, Watch

T = TypeVar("T")

MOST_TASKS = 200
MOST_EVENTS = 20
MOST_LINES = 20
MOST_CHARS = 500
"""Of one line, or of what one status event says."""


def to_event(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON-ready data."""
    failed = [task for task in outcome.tasks if task.state == "FAILED"][:MOST_TASKS]
    sight = outcome.sight
    return {
        "watch": outcome.watch.as_dict(),
        "reason": str(outcome.reason),
        "sight": {
            "state": str(sight.state),
            "counts": dict(sight.counts),
            "events": [asdict(_short(event)) for event in sight.events[-MOST_EVENTS:]],
        }
        if sight
        else None,
        "tasks": [asdict(replace(t, events=tuple(_short(e) for e in t.events[-MOST_EVENTS:]))) for t in failed],
        "tail": [asdict(_cut(line)) for line in _last_words(outcome)],
        "agent_tail": [asdict(_cut(line)) for line in outcome.agent_tail[-MOST_LINES:]],
        **{name: getattr(outcome, name) for name in _PLAIN},
    }


def from_event(plain: Mapping[str, Any]) -> Outcome:
    """The reverse; what another version wrote is accepted: unknown keys are dropped, missing ones defaulted.

    :raises ValueError: for what is no event of ours.
    """
    try:
        watch = Watch.from_dict(plain["watch"])
        reason = Reason(plain["reason"])
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"The trigger's event is none of this library's: {e!r}") from None
    seen = plain.get("sight")
    sight = (
        Sight(
            watch.job,
            watch.uid,
            State(seen["state"]),
            watch.created,
            events=tuple(_made(Event, event) for event in seen.get("events", ())),
            counts=dict(seen.get("counts", {})),
        )
        if seen
        else None
    )
    return Outcome(
        watch=watch,
        reason=reason,
        sight=sight,
        tasks=tuple(
            replace(_made(TaskSight, task | {"events": ()}), events=tuple(_made(Event, e) for e in task["events"]))
            for task in plain.get("tasks", ())
        ),
        tail=tuple(_made(Line, line) for line in plain.get("tail", ())),
        agent_tail=tuple(_made(Line, line) for line in plain.get("agent_tail", ())),
        **{name: plain[name] for name in _PLAIN if name in plain},
    )


_PLAIN = ("image", "digest", "streaming", "streamed", "streamed_says", "started", "ended")


def _made(kind: type[T], plain: Mapping[str, Any]) -> T:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in plain.items() if name in known})


def _last_words(outcome: Outcome) -> Iterable[Line]:
    """The lines that the closing block shows: of failed tasks, if they printed any."""
    indexes = {task.index for task in outcome.failed}
    of_failed = [line for line in outcome.tail if task_index(line.task_id) in indexes]
    return (of_failed or outcome.tail)[-MOST_LINES:]


def _short(event: Event) -> Event:
    return replace(event, says=event.says[:MOST_CHARS])


def _cut(line: Line) -> Line:
    return replace(line, text=line.text[:MOST_CHARS])
