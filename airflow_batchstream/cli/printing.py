"""What a command prints: what becomes of it must not be taken for what it says."""

from __future__ import annotations

import os
import sys
from typing import NoReturn, TextIO

import typer

USAGE, UNTOLD = 2, 3
"""Exit codes of the commands that read a registry: for wrong usage, and where it could not be told."""
_CUT_OFF = 128 + 13
"""As a shell tells of a process that SIGPIPE ended."""


def answer(text: str) -> None:
    """Print to standard output. Where that is closed (``| head``) or full, end the command with a code of its own: 1
    would say that an image does not stream.
    """
    try:
        typer.echo(text)
    except OSError as error:
        _give_up(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(_CUT_OFF) from None
        fail(f"what was found could not be printed: {error}.", UNTOLD)


def tell(line: str) -> None:
    """Print to standard error. Where that is closed or full, the line is lost, and the exit code says what it says."""
    try:
        typer.echo(line, err=True)
    except OSError:
        _give_up(sys.stderr)


def fail(why: object, code: int) -> NoReturn:
    """End the command with an error."""
    tell(f"Error: {why}")
    raise typer.Exit(code)


def _give_up(stream: TextIO) -> None:
    """Python writes what is left once more when it ends, and would end with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
