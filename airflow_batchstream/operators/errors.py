"""Our errors -> Airflow's: what would fail again is not retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException  # type: ignore[no-redef]

from airflow_batchstream.core.errors import BatchStreamError, InvalidInput


@contextmanager
def final_errors(lead: str = "") -> Iterator[None]:
    """Raise an error that no retry can mend as ``AirflowFailException``; ``retries`` see the others as they are.

    :param lead: how a complaint about arguments begins; by default that the job was not submitted.
    """
    try:
        yield
    except InvalidInput as e:
        raise AirflowFailException(str(InvalidInput(e.findings, lead=lead) if lead else e)) from None
    except BatchStreamError as e:
        if e.retryable:
            raise
        raise AirflowFailException(str(e)) from None
