"""Where Google's APIs are, and as whom to speak to them: the key under which clients are shared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def read_address(text: str) -> str:
    """``HOST:PORT`` of a local Batch, of what people write: with a scheme, a slash at the end.

    :raises ValueError: it is none.
    """
    address = re.sub(r"^(http|grpc)://", "", text.strip()).rstrip("/")
    read = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/@?#]+):([0-9]{1,5})", address)
    if not read or not 0 < int(read[1]) < 65536:
        raise ValueError(f"{text!r} is no address of a local Batch.")
    return address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Google's own APIs, or a local Batch.

    :param emulator: ``HOST:PORT`` of a local Batch, or empty for Google.
    :param gcp_conn_id: the Airflow connection whose credentials are used; ignored with an emulator.
    :param impersonation_chain: service accounts to impersonate, the last one being the one that acts.
    :param poll: seconds between two looks at a job, where the user does not say.
    :param log_visible: longest time in seconds from an entry's receipt by Cloud Logging to its being findable. A guess
        for Google (60 s); the local Batch's entries are findable at once.
    :param log_arrival: longest time from a job's end to the receipt of its last line.
    :param log_interval: seconds between two reads of a job's log.
    :param log_reads_per_minute: reads of logs that one process may spend: of Google's 60 a project and minute some are
        left for people.
    :param log_give_up: seconds of nothing but failures after which an ended job's log is given up.
    :param settle: ``(quiet passes, seconds)`` that a log is read on after a job's success.
    :param settle_failed: the same after a failure, where the last words matter most.
    """

    emulator: str = ""
    gcp_conn_id: str = "google_cloud_default"
    impersonation_chain: tuple[str, ...] = ()
    poll: float = 10.0
    log_visible: float = 60.0
    log_arrival: float = 60.0
    log_interval: float = 10.0
    log_reads_per_minute: float = 50.0
    log_give_up: float = 120.0
    settle: tuple[int, float] = (3, 20.0)
    settle_failed: tuple[int, float] = (6, 60.0)

    @classmethod
    def local(cls, address: str) -> Endpoint:
        """A local Batch at ``HOST:PORT``: anonymous, and quick, since its entries are findable at once."""
        return cls(
            emulator=address,
            gcp_conn_id="",
            poll=0.5,
            log_visible=1.0,
            log_arrival=1.0,
            log_interval=0.5,
            log_reads_per_minute=1200.0,
            log_give_up=30.0,
            settle=(2, 0.5),
            settle_failed=(2, 1.0),
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for a trigger's arguments."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Endpoint:
        """The reverse; what an older or newer version wrote is accepted, unknown keys are dropped."""
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for k, v in plain.items()
        }
        return cls(**{k: v for k, v in known.items() if k in cls.__slots__})
