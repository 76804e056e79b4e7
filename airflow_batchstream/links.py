"""The two buttons of a task: its job, and the job's logs, in the Google Cloud console.

Airflow reads a link from XCom. It asks each link for its address when the worker leaves; the operators push it as soon
as the job exists, so that it is there while the job runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class _ConsoleLink(BaseOperatorLink):
    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address that the operator noted, or nothing if it has submitted no job. Asks nobody."""
        return str(getattr(operator, "console_links", {}).get(self.xcom_key, ""))


class BatchJobLink(_ConsoleLink):
    """The job's page in the console."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Batch job"


class BatchJobLogsLink(_ConsoleLink):
    """The job's log in Logs Explorer."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Batch job logs"


def push(context: Any, links: dict[str, str]) -> None:
    """Show the buttons from now on.

    :param links: XCom key of a link -> its address.
    """
    for key, url in links.items():
        context["ti"].xcom_push(key=key, value=url)
