"""How a local Batch is set up: where it listens, where it keeps its state, how fast it does things."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one local Batch.

    :param host: where to listen; anything but loopback lets others run programs on this machine.
    :param port: 0 takes a free one.
    :param state_dir: jobs, log entries, images and unpacked layers; survives a restart.
    :param runtime: ``bwrap``, ``namespace``, ``process``; ``auto`` takes the first that works.
    :param faults: a file of faults to inject, or None.
    :param queued: seconds that a job stays QUEUED; ``scheduled`` that it stays SCHEDULED.
    :param grace: seconds from TERM to KILL for a task that is cancelled, deleted or over its time.
    :param slots: how many tasks run at once over all jobs: what the machine bears.
    :param seed: of all that is random in faults.
    """

    host: str = "127.0.0.1"
    port: int = 0
    state_dir: Path = field(default_factory=lambda: Path(".work/local-batch"))
    runtime: str = "auto"
    faults: Path | None = None
    queued: float = 0.05
    scheduled: float = 0.1
    grace: float = 5.0
    slots: int = 64
    seed: int = 0


def project_number(project_id: str) -> int:
    """The number that stands for a project's id in the names that Batch itself writes: made up, but always the same."""
    return int(project_id) if project_id.isdigit() else 100_000_000_000 + zlib.crc32(project_id.encode())


TLS_FOLDER, ROOTS, ACCOUNT = "tls", "roots.pem", "account.json"
"""Below the state directory: the certificate, and the account of programs that were written for Google alone."""


def universe(address: str) -> str:
    """The domain whose ``batch.`` and ``logging.`` are the server at ``HOST:PORT``.

    ``localhost``, whatever the host: names below it lead to this machine without anybody's name server.
    """
    return f"localhost:{address.rpartition(':')[2]}"


def environment(address: str) -> dict[str, str]:
    """The variables that send programs to a local Batch: this library and ``gcloud``.

    :param address: ``HOST:PORT``.
    """
    return {
        "BATCH_EMULATOR_HOST": address,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BATCH": f"http://{address}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": f"http://{address}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
    }


def tls_environment(address: str, state_dir: Path) -> dict[str, str]:
    """The variables that send there what was written for Google alone: any program that makes Google's Batch client,
    the Google provider's operators and triggers included.

    Apart from :func:`environment`, because they send *every* client of Google there: one for a bucket, or for a task
    log in a bucket, finds nothing. This library goes by ``BATCH_EMULATOR_HOST`` and does not mind them.

    :param address: ``HOST:PORT``.
    :param state_dir: of the local Batch, which makes the files at its start.
    """
    folder = state_dir.resolve() / TLS_FOLDER
    return {
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN": universe(address),
        "GOOGLE_APPLICATION_CREDENTIALS": str(folder / ACCOUNT),
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(folder / ROOTS),
        "GRPC_DNS_RESOLVER": "ares",  # knows *.localhost by itself; the C library's resolver may not
        "REQUESTS_CA_BUNDLE": str(folder / ROOTS),  # Google's clients over REST
        # The provider's hooks want a connection to exist; an empty one takes the credentials above.
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": "google-cloud-platform://",
    }
