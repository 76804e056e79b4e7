"""The sensor that waits for a job which another task, or somebody else, created.

It asks the same functions as the job operator (``decide``, the hub, ``finish``), and never cancels the job: neither
when its time is up nor when it is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue, XComArg

try:
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef]
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )

from airflow_batchstream import connection, links
from airflow_batchstream.core.errors import BatchStreamError, Interrupted, InvalidInput, JobTimedOut
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs import goal, named
from airflow_batchstream.operators.deferring import Deferral, default_deferrable
from airflow_batchstream.operators.errors import final_errors
from airflow_batchstream.operators.stop import Stop

BACKSTOP_SECONDS = 60.0
"""When a triggerer that is gone does not end the wait in time, Airflow does, so long after."""
RESCHEDULE_SECONDS = 60.0


class CloudBatchJobSensor(BaseSensorOperator):
    """Wait until a Batch job has succeeded, or is in a given state; fail when it fails.

    The job is named by what another task left in XCom, by its full name, or by its id with project and region.

    :param job: ``other_task.output`` of a job operator (with ``do_xcom_push=False``: ``XComArg(other_task,
        key="batch_job")``), or ``projects/PROJECT/locations/REGION/jobs/JOB``.
    :param job_id: instead: the job's id, with ``project_id`` and ``region``.
    :param project_id: the project of ``job_id``; by default the connection's own.
    :param region: the region of ``job_id``.
    :param wait_for: a state, or several: QUEUED, SCHEDULED, RUNNING, SUCCEEDED, FAILED or CANCELLED. A job that is
        beyond QUEUED, SCHEDULED or RUNNING has been there, unless it ended badly. Any end that is not waited for fails
        the sensor, without Airflow's retries: they would find the job as it is.
    :param get_logs: show what the containers print, from the job's beginning, as the job operator does. Not in
        reschedule mode: XCom is cleared at each poke, and nothing tells which lines were shown.
    :param log_severity: show only lines of this severity or above.
    :param log_limit: show so many lines at most.
    :param gcp_conn_id: the Airflow connection whose credentials are used.
    :param impersonation_chain: a service account to act as, or a chain of them, the last being the one that acts.
    :param deferrable: wait in the triggerer; default is Airflow's ``default_deferrable``, unless ``mode`` is
        ``reschedule``.
    :param poke_interval: seconds between two looks at the job, or a timedelta. Default 10, half a second with a local
        Batch; 60 in reschedule mode.
    :param timeout: longest wait, from this sensor's first look, in every mode. The job goes on.
    """

    template_fields: Sequence[str] = (
        "job",
        "job_id",
        "project_id",
        "region",
        "wait_for",
        "log_severity",
        "log_limit",
        "gcp_conn_id",
        "impersonation_chain",
    )
    operator_extra_links = (links.BatchJobLink(), links.BatchJobLogsLink())
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        job: Mapping[str, Any] | str | XComArg | None = None,
        job_id: str | XComArg | None = None,
        project_id: str | XComArg | None = None,
        region: str | XComArg | None = None,
        wait_for: str | Sequence[str] | XComArg = "SUCCEEDED",
        get_logs: bool = False,
        log_severity: str | XComArg | None = None,
        log_limit: int | str | XComArg | None = None,
        gcp_conn_id: str = connection.DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | XComArg | None = None,
        deferrable: bool | None = None,
        mode: str = "poke",
        poke_interval: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            mode=mode, poke_interval=RESCHEDULE_SECONDS if poke_interval is None else poke_interval, **kwargs
        )
        self.job = job
        self.job_id = job_id
        self.project_id = project_id
        self.region = region
        self.wait_for = wait_for
        self.get_logs = get_logs
        self.log_severity = log_severity
        self.log_limit = log_limit
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = (mode != "reschedule" and default_deferrable()) if deferrable is None else deferrable
        self.poll_seconds = None if poke_interval is None else self.poke_interval
        self.console_links: dict[str, str] = {}
        self._stop = Stop()
        self._check_literals()

    def _check_literals(self) -> None:
        if self.get_logs and self.mode == "reschedule" and not self.deferrable:
            says = (
                "get_logs=True does not go with mode='reschedule': Airflow clears the task's XCom at each poke, so "
                "nothing tells which lines were shown, and all would be shown again."
            )
            remedy = "Use deferrable=True, which takes no worker slot either, or mode='poke'."
            raise InvalidInput(
                [Finding("sensor-logs", Verdict.BROKEN, "get_logs", True, says, remedy)],
                lead=named.LEAD,
            )
        named.check_literals(self.job, self.job_id)
        if goal.literal(self.wait_for):
            goal.read(self.wait_for)

    def execute(self, context: Any) -> Any:
        """Wait; the dict of XCom ``batch_job`` is the result.

        :raises AirflowFailException: the job ended, and not as it was waited for.
        :raises AirflowSensorTimeout: ``timeout`` has passed.
        """
        if self.reschedule and not self.deferrable:
            return super().execute(context)
        with self._as_sensors_fail(), asyncio.Runner() as runner:
            from airflow_batchstream.operators.observe import Observation

            done = runner.run(Observation(self, context, self._stop).whole())
        if isinstance(done, dict):
            return done
        return self._go_on_in_trigger(context, done)

    def poke(self, context: Any) -> PokeReturnValue:
        """One look at the job."""
        from airflow_batchstream.operators.observe import Observation

        with final_errors(named.LEAD), asyncio.Runner() as runner:
            done = runner.run(Observation(self, context, self._stop).once())
        return PokeReturnValue(done is not None, done)

    def _go_on_in_trigger(self, context: Any, deferral: Deferral) -> NoReturn:
        self.defer(
            trigger=deferral.trigger(context, cancel_on_kill=False),
            method_name="execute_complete",
            timeout=deferral.backstop(BACKSTOP_SECONDS),
        )
        raise AssertionError("defer() returned")

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on where the trigger ended."""
        from airflow_batchstream.operators import ends, observe

        with self._as_sensors_fail():
            over = ends.from_trigger(context, event or {}, "a retry looks at it again")
            return observe.conclude(self, context, over)

    def on_kill(self) -> None:
        """Told to stop: the wait leaves. The job goes on."""
        self._stop.set()

    @contextmanager
    def _as_sensors_fail(self) -> Iterator[None]:
        """``soft_fail`` and ``never_fail`` mean in every mode what they mean to a sensor that pokes."""
        try:
            with final_errors(named.LEAD):
                yield
        except Interrupted:
            raise  # the worker goes: nothing is known of the job
        except (AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout, BatchStreamError) as e:
            retryable = isinstance(e, BatchStreamError) and not isinstance(e, JobTimedOut)
            if self.never_fail or (self.soft_fail and not retryable):
                name = "soft_fail" if self.soft_fail else "never_fail"
                raise AirflowSkipException(f"Skipped, since {name} is set: {e}") from e
            raise
