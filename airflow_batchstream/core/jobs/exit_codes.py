"""What a task's exit code means: whose doing it is, and what to look at first.

50000 to 50006 are Batch's own (its page "Troubleshooting: exit codes"); 125 to 127 are the container runtime's and the
shell's; above 128 a signal ended the program; anything else is the program's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Whose(StrEnum):
    """Where the cause of a failure lies."""

    PROGRAM = "the job's own program"
    IMAGE = "the job's image or settings"
    INFRASTRUCTURE = "infrastructure"
    UNKNOWN = "not told"


@dataclass(frozen=True, slots=True)
class Meaning:
    """An exit code in words.

    :param hint: what to look at first; empty where only the program's output can tell.
    """

    code: int
    says: str
    whose: Whose
    hint: str = ""


OWN = "the program's own exit code"
"""What is said of a code that means nothing to anybody but the program."""
_RETRY = "A retry can help."

_BATCH = {
    50000: ("Batch does not know why", Whose.UNKNOWN, "Look at the agent's log; a retry can help."),
    50001: (
        "the Spot VM was preempted",
        Whose.INFRASTRUCTURE,
        "A retry can help; set maxRetryCount, or use STANDARD VMs.",
    ),
    50002: ("the VM stopped reporting to Batch", Whose.INFRASTRUCTURE, _RETRY),
    50003: ("the VM rebooted while the task ran", Whose.INFRASTRUCTURE, _RETRY),
    50004: ("the VM and its task no longer answered", Whose.INFRASTRUCTURE, f"{_RETRY} Check that memory is enough."),
    50005: (
        "the task ran over its maximum time",
        Whose.PROGRAM,
        "Raise maxRunDuration of the task or of the runnable, or let each task do less.",
    ),
    50006: ("the VM was recreated while the task ran", Whose.INFRASTRUCTURE, _RETRY),
}

_SHELL = {
    125: (
        "the container could not be started",
        "Look at the agent's log: the image could not be pulled, or an option or a volume is wrong.",
    ),
    126: (
        "the command was found, but cannot be executed",
        "It is no program for this machine (another CPU architecture?), a directory, or lacks the x permission.",
    ),
    127: (
        "the command was not found",
        "Check commands and entrypoint, and that the program is in the image and on its PATH; a script's interpreter "
        "(its #! line) counts too.",
    ),
}

_SIGNALS = {
    1: "HUP",
    2: "INT",
    3: "QUIT",
    4: "ILL",
    6: "ABRT",
    7: "BUS",
    8: "FPE",
    9: "KILL",
    11: "SEGV",
    13: "PIPE",
    14: "ALRM",
    15: "TERM",
    24: "XCPU",
    25: "XFSZ",
}

_SIGNAL_HINTS = {
    4: "The program uses instructions that this machine type's CPU lacks.",
    9: "Most often it ran out of memory: raise computeResource.memoryMib and take a machine type that has it.",
    11: "The program read or wrote memory that is not its own.",
    15: "Something asked it to end: the job's cancel, a timeout, or the VM's shutdown.",
}


def meaning(code: int) -> Meaning:
    """What an exit code says; any integer has a meaning."""
    if code in _BATCH:
        says, whose, hint = _BATCH[code]
        return Meaning(code, says, whose, hint)
    if code in _SHELL:
        says, hint = _SHELL[code]
        return Meaning(code, says, Whose.IMAGE if code == 125 else Whose.PROGRAM, hint)
    if 128 < code <= 192:
        return _of_signal(code)
    if code == 0:
        return Meaning(code, "success", Whose.PROGRAM)
    return Meaning(code, OWN, Whose.PROGRAM)


def _of_signal(code: int) -> Meaning:
    number = code - 128
    name = f"SIG{_SIGNALS[number]}" if number in _SIGNALS else f"signal {number}"
    return Meaning(code, f"ended by {name}", Whose.PROGRAM, _SIGNAL_HINTS.get(number, ""))
