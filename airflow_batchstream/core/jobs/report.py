"""The end of a job in words, for :mod:`~airflow_batchstream.core.jobs.outcome`, which decides what it means.

:func:`block` is the end of the task log. :func:`brief` is the error's message: Airflow shows it right below the block,
and alert mails and ``on_failure_callback`` see nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_batchstream.core.jobs import deadlines, events
from airflow_batchstream.core.jobs.ends import Outcome
from airflow_batchstream.core.jobs.exit_codes import OWN, meaning
from airflow_batchstream.core.jobs.failures import FailedTask, by_code
from airflow_batchstream.core.jobs.lines import tag, task_index
from airflow_batchstream.core.jobs.model import Line, State
from airflow_batchstream.core.jobs.text import plain
from airflow_batchstream.core.jobs.times import clock, span
from airflow_batchstream.core.jobs.waits import DEADLINES, Reason

_TASKS_SHOWN = 5
_EVENTS_SHOWN = 3
_SAYS = 600
_LINE = 300


def block(outcome: Outcome, tail: int) -> list[str]:
    """All that is worth saying of the end, most important first."""
    lines = [_headline(outcome)]
    if not outcome.succeeded:
        lines += _why(outcome)
    lines += _counts(outcome)
    if outcome.streamed_says:
        lines.append(outcome.streamed_says)
    if not outcome.succeeded:
        lines += _last_words(outcome, tail)
        lines.append(_money(outcome))
    lines.append(f"Console: {outcome.watch.job.console_url}")
    return lines


def brief(outcome: Outcome) -> str:
    """What happened, the first reason, the last line printed, what it costs if it still does, and where to look."""
    lines = [_headline(outcome), *_first_reason(outcome)]
    if words := _last_words(outcome, 1):
        lines.append(" ".join(part.strip() for part in words))
    if not _costs_nothing(outcome):
        lines.append(_money(outcome))
    lines.append(f"Console: {outcome.watch.job.console_url}")
    return "\n".join(lines)


# -- what happened ----------------------------------------------------------------------------------------------------


def _headline(outcome: Outcome) -> str:
    job, state = outcome.watch.job.job_id, outcome.state
    if outcome.reason in DEADLINES:
        return f"Job {job} did not end in time: {deadlines.words(outcome.watch, outcome.reason)}. {_fate(outcome)}"
    if outcome.reason is Reason.REFUSED:
        return f"Batch does not let us look at job {job}: {outcome.watch.error or outcome.watch.error_code}"
    if outcome.reason is Reason.GONE:
        if state is None:
            return f"Job {job} cannot be found: it was deleted right after it was created, and not by this task."
        return f"Job {job} was deleted, and not by this task; it was last seen as {state}."
    if state is State.CANCELLED:
        return f"Job {job} was CANCELLED{_timing(outcome)}, and not by this task."
    if outcome.reason is Reason.REACHED:
        return f"Job {job} is {state}, which was waited for."
    if state is State.SUCCEEDED and not outcome.succeeded:
        return f"Job {job} {state}{_timing(outcome)}, and never was {' or '.join(outcome.watch.wait_for)}."
    return f"Job {job} {state}{_timing(outcome)}."


def _timing(outcome: Outcome) -> str:
    created, started, ended = outcome.watch.created, outcome.started_at, outcome.ended_at
    if not created or ended is None:
        return ""
    told = f" after {span(ended - created)}"
    if started is not None:
        told += f" ({span(started - created)} until it ran, {span(ended - started)} running)"
    return told


def _fate(outcome: Outcome) -> str:
    """What became of a job whose time was up."""
    watch, state = outcome.watch, outcome.state
    if state is State.CANCELLED or (outcome.sight is None and watch.cancel_sent_at is not None and _gone(outcome)):
        return "It was cancelled."
    if watch.cancel_sent_at is not None:
        return f"It was told to cancel, and was still {state or 'unseen'} when the wait for its end was over."
    if watch.cancel_error:
        return f"It could not be cancelled ({watch.cancel_error})."
    if state is not None and state.ending:
        return f"Its end had been asked for already: it is in {state}."
    if watch.observer:
        return "It goes on: a sensor never cancels a job."
    return "It was not cancelled (cancel_on_timeout=False)." if not watch.cancel_on_timeout else "It was not cancelled."


def _gone(outcome: Outcome) -> bool:
    return outcome.reason is Reason.GONE or outcome.watch.error_code == "NOT_FOUND"


# -- why --------------------------------------------------------------------------------------------------------------


def _why(outcome: Outcome) -> list[str]:
    if outcome.reason is Reason.REFUSED:
        return [_remedy_of_refusal(outcome)]
    by_cancel = _ended_by_cancel(outcome)
    failed = [task for task in outcome.failed if task not in by_cancel]
    lines = _failed_tasks(failed) if failed else []
    if by_cancel:
        lines.append(f"The cancellation ended {len(by_cancel)} running task{'s' if len(by_cancel) > 1 else ''}.")
    if lines or outcome.reason is Reason.GONE:
        return lines
    return _status_events(outcome)


def _first_reason(outcome: Outcome) -> list[str]:
    """:func:`_why` with one of the failed tasks only: most often they all failed for the same reason."""
    by_cancel = _ended_by_cancel(outcome)
    failed = [task for task in outcome.failed if task not in by_cancel]
    if outcome.reason is Reason.REFUSED or not failed:
        return _why(outcome)
    others = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
    return [f"{_failed_task(failed[0], explain=True)}{others}"]


def _ended_by_cancel(outcome: Outcome) -> list[FailedTask]:
    """Failed tasks whose signal came from the job's cancellation: their exit codes explain nothing."""
    told = outcome.sight.events if outcome.sight else ()
    since = events.when(told, State.CANCELLATION_IN_PROGRESS)
    if since is None:
        return []
    return [task for task in outcome.failed if task.exit_code in (137, 143) and task.at >= since]


def _remedy_of_refusal(outcome: Outcome) -> str:
    project = outcome.watch.job.project_id
    if outcome.watch.error_code == "UNAUTHENTICATED":
        return "Give the connection good credentials. The job was not touched; a retry looks at it again."
    return f"Airflow's account needs roles/batch.jobsEditor in project {project} (batch.jobs.get at least)."


def _failed_tasks(failed: Sequence[FailedTask]) -> list[str]:
    """The first few by name, the rest by code; each code explained once."""
    lines, explained = [], set[int | None]()
    for task in failed[:_TASKS_SHOWN]:
        lines.append(_failed_task(task, explain=task.exit_code not in explained))
        explained.add(task.exit_code)
    rest = by_code(failed[_TASKS_SHOWN:])
    if rest:
        codes = ", ".join(f"{'no exit code' if code is None else f'exit code {code}'}: {n}" for code, n in rest.items())
        lines.append(f"... and {sum(rest.values())} more failed tasks ({codes})")
        lines += [_explained(code) for code in rest if code is not None and code not in explained][:_TASKS_SHOWN]
    return lines


def _failed_task(task: FailedTask, *, explain: bool) -> str:
    attempt = f"attempt {task.attempts - 1}, the last of {task.attempts}" if task.attempts > 1 else "attempt 0"
    head = f"Task {task.index} failed ({attempt})"
    if task.exit_code is None:
        return f"{head}, no exit code told. Batch says: {_cut(task.says, _SAYS) or 'nothing'}"
    return f"{head}: {_explained(task.exit_code)}" if explain else f"{head}: exit code {task.exit_code}"


def _explained(code: int) -> str:
    known = meaning(code)
    says = "" if known.says == OWN else f": {known.says}"
    words = f"exit code {code}{says} (cause: {known.whose})"
    return f"{words}. {known.hint}" if known.hint else words


def _status_events(outcome: Outcome) -> list[str]:
    """Where no task failed, only the job's status events tell why."""
    last = sorted(outcome.sight.events, key=lambda e: e.at)[-_EVENTS_SHOWN:] if outcome.sight else []
    job_id = outcome.watch.job.job_id
    lines = [f"  {clock(e.at)} {_cut(events.short(e, job_id), _SAYS)}" for e in last]
    ran = outcome.started_at is not None or any(t.state == "RUNNING" or t.events for t in outcome.tasks)
    head = [] if ran else ["No task ever ran."]
    return [*head, "The job's last status events:", *lines] if lines else head


def _counts(outcome: Outcome) -> list[str]:
    told = {state: n for state, n in outcome.sight.counts.items() if n} if outcome.sight else {}
    return ["Tasks: " + ", ".join(f"{n} {state}" for state, n in sorted(told.items()))] if told else []


# -- the last words, the costs ----------------------------------------------------------------------------------------


def _last_words(outcome: Outcome, tail: int) -> list[str]:
    if not tail:
        return []
    indexes = {t.index for t in outcome.failed}
    of_failed = [line for line in outcome.tail if task_index(line.task_id) in indexes]
    lines, which = of_failed or list(outcome.tail), "last lines" if tail > 1 else "last line"
    if lines:
        return [f"The {which} printed{' by failed tasks' if of_failed else ''}:", *_quoted(lines[-tail:])]
    if outcome.agent_tail:
        nothing = "printed nothing" if outcome.state is not None and outcome.state.ended else "has printed nothing yet"
        return [f"The job {nothing}. The {which} of Batch's agent:", *_quoted(outcome.agent_tail[-tail:])]
    return []


def _quoted(lines: Iterable[Line]) -> list[str]:
    return [f"  {tag(line.task_id) or 'job'} | {_cut(plain(line.text), _LINE)}" for line in lines]


def _costs_nothing(outcome: Outcome) -> bool:
    return (outcome.state is not None and outcome.state.ended) or _gone(outcome)


def _money(outcome: Outcome) -> str:
    """Whether it still costs money: the first question of who is paged at night."""
    job, state = outcome.watch.job, outcome.state
    if _costs_nothing(outcome):
        return "Costs: the job has ended; it costs nothing any more."
    if state is not None and (state.ending or outcome.watch.cancel_sent_at is not None):
        return "Costs: the job is on its way to its end; its VMs cost money until they are gone."
    final = outcome.reason is Reason.REFUSED and outcome.watch.error_code != "UNAUTHENTICATED"
    retry = "This ends it" if outcome.watch.observer or final else "A retry of this task adopts it; this ends it"
    return f"Costs: the job lives on and costs money. {retry}: {job.cancel_command}"


def _cut(text: str, most: int) -> str:
    flat = " ".join(text.splitlines())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
