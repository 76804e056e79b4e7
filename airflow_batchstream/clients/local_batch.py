"""Is there a local Batch at its address? Asked before calls that would try again for minutes."""

from __future__ import annotations

import socket

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ApiRefused

REACH_SECONDS = 5.0
"""Longest wait for a connection to a local Batch, which is near."""


def reach(endpoint: Endpoint, *, otherwise: str) -> None:
    """Fail at once where no local Batch serves. Blocks.

    :param otherwise: how to use Google Cloud instead, in the words of the place that the address comes from.
    :raises ApiRefused: with the way out; a retry helps once the local Batch is started.
    """
    if not endpoint.emulator:
        return
    host, _, port = endpoint.emulator.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as e:
        raise ApiRefused(
            f"No local Batch answers at {endpoint.emulator} ({e}). Start it (batchstream emulator --port {port}), or "
            f"{otherwise} to use Google Cloud.",
            code="UNAVAILABLE",
            retryable=True,
        ) from None
