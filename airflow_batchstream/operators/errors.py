"""Our errors -> Airflow's: what would fail again is not retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException  # type: ignore[no-redef]

from airflow_batchstream.core.errors import BatchStreamError


@contextmanager
def final_errors() -> Iterator[None]:
    """Raise an error that no retry can mend as ``AirflowFailException``; ``retries`` see the others as they are."""
    try:
        yield
    except BatchStreamError as e:
        if e.retryable:
            raise
        raise AirflowFailException(str(e)) from None
