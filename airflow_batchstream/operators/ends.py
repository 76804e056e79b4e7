"""What a task says of its job: in the log, in XCom and as links, when it begins and when it ends.

Called by ``execute`` and ``execute_complete`` alike, so that both modes tell the same.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_batchstream import links
from airflow_batchstream.core.jobs import outcome
from airflow_batchstream.core.jobs.lines import logs_explorer_url
from airflow_batchstream.core.jobs.model import Sight
from airflow_batchstream.core.jobs.outcome import Outcome
from airflow_batchstream.core.jobs.watch import Reason, Watch
from airflow_batchstream.services.hub import Subject
from airflow_batchstream.tasklog import TaskLog

if TYPE_CHECKING:
    from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

JOB_KEY = "batch_job"
"""XCom key of the small dict that describes the job."""


def so_far(watch: Watch, sight: Sight, subject: Subject) -> Outcome:
    """What is known of a job that has not ended."""
    return Outcome(
        watch=watch,
        reason=Reason.STATE,
        sight=sight,
        image=subject.image,
        digest=subject.digest,
        streaming=subject.streaming,
    )


def announce(operator: CloudBatchStreamingJobOperator, context: Any, known: Outcome) -> None:
    """Links and XCom of a job that exists: they are there while it runs."""
    _note_links(operator, known)
    links.push(context, operator.console_links)
    context["ti"].xcom_push(key=JOB_KEY, value=outcome.result(known))


def conclude(operator: CloudBatchStreamingJobOperator, context: Any, ended: Outcome) -> dict[str, Any]:
    """The closing block, XCom, and the result or the error that says why there is none."""
    log = TaskLog(operator.log)
    for line in outcome.closing_block(ended):
        log.say(logging.INFO if ended.succeeded else logging.ERROR, line)
    _note_links(operator, ended)  # Airflow asks for them once more when the worker leaves
    context["ti"].xcom_push(key=JOB_KEY, value=outcome.result(ended))
    return outcome.finish(ended)


def _note_links(operator: CloudBatchStreamingJobOperator, known: Outcome) -> None:
    job, uid, created = known.watch.job, known.watch.uid, known.watch.created
    operator.console_links = {
        links.BatchJobLink().xcom_key: job.console_url,
        links.BatchJobLogsLink().xcom_key: logs_explorer_url(job.project_id, uid, created),
    }
