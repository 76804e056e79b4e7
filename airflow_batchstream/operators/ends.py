"""What a task says of its job: in the log, in XCom and as links, when it begins and when it ends.

Called by ``execute`` and ``execute_complete`` alike, so that both modes tell the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from airflow_batchstream import links
from airflow_batchstream.core.errors import Interrupted
from airflow_batchstream.core.jobs import outcome
from airflow_batchstream.core.jobs.handover import from_event
from airflow_batchstream.core.jobs.lines import logs_explorer_url
from airflow_batchstream.core.jobs.model import JobName, Sight
from airflow_batchstream.core.jobs.outcome import Outcome
from airflow_batchstream.core.jobs.streamed import judge
from airflow_batchstream.core.jobs.watch import Reason, Watch
from airflow_batchstream.services.hub import Subject
from airflow_batchstream.tasklog import TaskLog

JOB_KEY = "batch_job"
"""XCom key of the small dict that describes the job."""


class Teller(Protocol):
    """An operator or a sensor."""

    console_links: dict[str, str]

    @property
    def log(self) -> Any:
        """Its task log."""


def so_far(watch: Watch, sight: Sight, subject: Subject) -> Outcome:
    """What is known of a job that has not ended."""
    return Outcome(
        watch=watch,
        reason=Reason.STATE,
        sight=sight,
        image=subject.image,
        digest=subject.digest,
        streaming=subject.streaming,
        streamed=judge(subject.signs()).word,
    )


def announce(operator: Teller, context: Any, known: Outcome) -> None:
    """Links and XCom of a job that exists: they are there while it runs."""
    _note_links(operator, known)
    links.push(context, operator.console_links)
    context["ti"].xcom_push(key=JOB_KEY, value=outcome.result(known))


def conclude(operator: Teller, context: Any, ended: Outcome) -> dict[str, Any]:
    """The closing block, XCom, and the result or the error that says why there is none."""
    log = TaskLog(operator.log)
    for line in outcome.closing_block(ended):
        log.say(logging.INFO if ended.succeeded else logging.ERROR, line)
    _note_links(operator, ended)  # Airflow asks for them once more when the worker leaves
    context["ti"].xcom_push(key=JOB_KEY, value=outcome.result(ended))
    return outcome.finish(ended)


def from_trigger(context: Any, event: Mapping[str, Any], next_time: str) -> Outcome:
    """The outcome that a trigger's event carries.

    :param next_time: what a retry does.
    :raises Interrupted: if the wait in the triggerer broke off, or the event is not this task's.
    """
    ti = context["ti"]
    known = ti.xcom_pull(key=JOB_KEY, task_ids=ti.task_id, map_indexes=ti.map_index) or {}
    lives_on = _lives_on(known, next_time)
    if error := event.get("error"):
        raise Interrupted(f"The wait in the triggerer broke off: {error}\n{lives_on}", job=known)
    try:
        ended = from_event(event.get("outcome") or {})
    except ValueError as e:
        raise Interrupted(f"{e}.\n{lives_on}", job=known) from None
    if known and known.get("name") != str(ended.watch.job):
        raise Interrupted(f"The triggerer told of another job, {ended.watch.job}.\n{lives_on}", job=known)
    return ended


def _lives_on(known: Mapping[str, Any], next_time: str) -> str:
    """What becomes of the job, and what it costs, where nobody waits for it any more."""
    try:
        job = JobName.parse(str(known.get("name")))
    except ValueError:
        return f"The job lives on and costs money; {next_time}."
    return (
        f"The job {job.job_id} lives on, and costs money until its end; {next_time}. This ends it: "
        f"{job.cancel_command}\nConsole: {job.console_url}"
    )


def _note_links(operator: Teller, known: Outcome) -> None:
    job, uid, created = known.watch.job, known.watch.uid, known.watch.created
    operator.console_links = {
        links.BatchJobLink().xcom_key: job.console_url,
        links.BatchJobLogsLink().xcom_key: logs_explorer_url(job.project_id, uid, created),
    }
