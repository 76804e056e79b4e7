"""All that is known when a wait is over: the data of :mod:`~airflow_batchstream.core.jobs.outcome`."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchstream.core.jobs import events
from airflow_batchstream.core.jobs.failures import FailedTask, failed_tasks
from airflow_batchstream.core.jobs.model import Line, Sight, State, TaskSight
from airflow_batchstream.core.jobs.waits import Reason, Watch


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known when a wait is over; also, with what is known so far, when a job was just submitted.

    :param sight: the last look at the job; None if none succeeded.
    :param tasks: the failed tasks (others do no harm); asked for only when the job did not succeed.
    :param tail: the last lines that the job's containers printed, oldest first.
    :param agent_tail: the last lines of Batch's agent, for a failed job that printed nothing.
    :param image: the image as the user named it.
    :param digest: ``sha256:...`` of the image that ran; empty if it was not resolved.
    :param streamed: how the image came, in one word of :class:`~airflow_batchstream.core.jobs.streamed.Streamed`; empty
        for a plain job.
    :param streamed_says: the same with its evidence, a line for people.
    :param started: when the job began to run, if the watch does not know.
    :param ended: when it ended, if its events do not tell.
    """

    watch: Watch
    reason: Reason
    sight: Sight | None = None
    tasks: tuple[TaskSight, ...] = ()
    tail: tuple[Line, ...] = ()
    agent_tail: tuple[Line, ...] = ()
    image: str = ""
    digest: str = ""
    streaming: bool = False
    streamed: str = ""
    streamed_says: str = ""
    started: float | None = None
    ended: float | None = None

    @property
    def state(self) -> State | None:
        """The job's state as last seen; None if it was never seen."""
        return self.sight.state if self.sight else self.watch.state

    @property
    def succeeded(self) -> bool:
        """Whether what was waited for has come: the job's good end, or the state that was asked for."""
        ended_well = self.reason is Reason.STATE and self.state is State.SUCCEEDED
        return self.reason is Reason.REACHED or (ended_well and not self.watch.wait_for)

    @property
    def started_at(self) -> float | None:
        """When the job began to run."""
        return self.watch.running_since if self.watch.running_since is not None else self.started

    @property
    def ended_at(self) -> float | None:
        """When the job ended, as its events tell; None while it lives."""
        if self.state is None or not self.state.ended:
            return self.ended
        told = events.when(self.sight.events, self.state) if self.sight else None
        return self.ended if told is None else told

    @property
    def failed(self) -> list[FailedTask]:
        """The failed tasks, by index."""
        return failed_tasks(self.tasks)
