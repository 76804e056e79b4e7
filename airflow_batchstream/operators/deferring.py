"""How a wait goes from a worker to a triggerer, and when it has to be over: for operator and sensor alike."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.services.hub import Subject

if TYPE_CHECKING:
    from airflow_batchstream.triggers import CloudBatchJobTrigger

BACKSTOP_SECONDS = 240.0
"""More than the wait for a cancelled job's end takes."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """What a trigger needs to go on with the wait."""

    watch: Watch
    endpoint: Endpoint
    subject: Subject

    def trigger(self, context: Any, *, cancel_on_kill: bool) -> CloudBatchJobTrigger:
        """The trigger that goes on, for this attempt."""
        from airflow_batchstream.triggers import CloudBatchJobTrigger

        return CloudBatchJobTrigger(
            watch=self.watch.as_dict(),
            endpoint=self.endpoint.as_dict(),
            subject=asdict(self.subject),
            owner=str(context["ti"].id),
            cancel_on_kill=cancel_on_kill,
        )

    def backstop(self, seconds: float = BACKSTOP_SECONDS) -> timedelta | None:
        """When Airflow takes the task back from a triggerer that is gone: well after that would have ended it.

        :param seconds: how long the end may take once a deadline has passed.
        """
        ends_at = [at for at in (self.watch.timeout_at, self.watch.execution_timeout_at) if at is not None]
        if not ends_at:
            return None
        return timedelta(seconds=max(0.0, min(ends_at) - time.time()) + seconds)


def default_deferrable() -> bool:
    """What Airflow's configuration says of operators that do not say it themselves."""
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # Airflow 3.1
        from airflow.configuration import conf
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def execution_timeout_at(operator: Any, context: Any) -> float | None:
    """When Airflow's own timer strikes, counted from this try's start; None for never."""
    limit, started = operator.execution_timeout, getattr(context["ti"], "start_date", None)
    if limit is None:
        return None
    return float((started.timestamp() if started else time.time()) + limit.total_seconds())
