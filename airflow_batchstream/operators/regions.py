"""What a scan task's ``region`` may be: checked when the Dag is parsed, and again once it was rendered."""

from __future__ import annotations

from typing import Any

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images.locations import no_region
from airflow_batchstream.core.jobs.schema import templated


def checked(value: Any, lead: str) -> str:
    """The region; empty where none is given.

    :param lead: what does not happen if it is none.
    :raises InvalidInput: it is none. A region that is not known here is one.
    """
    if value is None or value == "":
        return ""
    if why := no_region(str(value)):
        says, remedy = why
        raise InvalidInput([Finding("region", Verdict.BROKEN, "region", value, says, remedy)], lead=lead)
    return str(value)


def check_literal(value: Any, lead: str) -> None:
    """:func:`checked`, of what the Dag file has; what Airflow renders later is passed over."""
    if isinstance(value, str | int | float) and not templated(value):
        checked(value, lead)
