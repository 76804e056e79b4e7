"""What ``fail_on`` and ``scan_fail_on`` may be: checked when the Dag is parsed, and again once it was rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.schema import templated

if TYPE_CHECKING:
    from airflow_batchstream.core.images.scanned import FailOn

WORDS = ("broken", "unknown", "never")


def checked(argument: str, value: Any, lead: str) -> FailOn:
    """The word, if it is one of :data:`WORDS`.

    :param argument: what the user calls it.
    :param lead: what does not happen if it is none.
    :raises InvalidInput: if it is none.
    """
    if value in WORDS:
        return cast("FailOn", value)
    says = f"{value!r} is not among {', '.join(map(repr, WORDS))}."
    remedy = "'broken' refuses an image that breaks a rule, 'unknown' also one of which that could not be told."
    raise InvalidInput([Finding("argument", Verdict.BROKEN, argument, value, says, remedy)], lead=lead)


def check_literal(argument: str, value: Any, lead: str) -> None:
    """:func:`checked`, of what the Dag file has; what Airflow renders later is passed over."""
    if (isinstance(value, str) and not templated(value)) or value is None or isinstance(value, bool | int | float):
        checked(argument, value, lead)
