"""Which runtime this machine gets: the best that really runs ``true``, and why not a better one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from airflow_batchstream.emulator.runtimes.base import Runtime
from airflow_batchstream.emulator.runtimes.bwrap import BwrapRuntime
from airflow_batchstream.emulator.runtimes.namespace import NamespaceRuntime
from airflow_batchstream.emulator.runtimes.process import ProcessRuntime

RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "bwrap": BwrapRuntime,
    "namespace": NamespaceRuntime,
    "process": ProcessRuntime,
}
AUTO = "auto"


class NoRuntimeError(Exception):
    """The runtime that was asked for does not exist, or does not work here; the message says why."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime to use.

    :param passed_over: those that would have been better, each with the reason why it does not work here.
    """

    runtime: Runtime
    passed_over: tuple[tuple[str, str], ...] = ()

    @property
    def says(self) -> list[str]:
        """Lines for whoever starts the local Batch: loud where containers are not isolated."""
        lines = [f"runtime {self.runtime.name}"]
        if not self.runtime.isolated:
            lines = [
                "WARNING: containers run as plain processes of this machine, without isolation:",
                *(f"  {name} does not work here: {why}" for name, why in self.passed_over),
                "  Commands see this machine's files and can change them. Run only images that you trust.",
            ]
        return lines


def choose(name: str = AUTO) -> Choice:
    """Find the runtime to use. Takes some 20 ms for each that is tried.

    :param name: of one runtime, which must then work; or ``auto`` for the best.
    :raises NoRuntimeError: there is no such runtime, or it does not work here.
    """
    if name != AUTO:
        if name not in RUNTIMES:
            raise NoRuntimeError(f"there is no runtime {name!r}: choose one of {', '.join((AUTO, *RUNTIMES))}")
        runtime = RUNTIMES[name]()
        if failed := runtime.probe():
            raise NoRuntimeError(f"the runtime {name} does not work on this machine: {failed}")
        return Choice(runtime)
    passed_over: list[tuple[str, str]] = []
    for candidate in order():
        failed = candidate.probe()
        if not failed:
            return Choice(candidate, tuple(passed_over))
        passed_over.append((candidate.name, failed))
    raise NoRuntimeError("no runtime works on this machine: " + "; ".join(f"{n}: {why}" for n, why in passed_over))


def order() -> list[Runtime]:
    """The best first.

    bwrap starts quickest, if it can mount layers; as root our own launcher is better, for it keeps an image's owners.
    """
    bwrap = BwrapRuntime()
    isolated: list[Runtime] = [bwrap, NamespaceRuntime()]
    if os.geteuid() == 0 or not bwrap.overlay:
        isolated.reverse()
    return [*isolated, ProcessRuntime()]
