"""A command's answer, printed: what becomes of it must not be taken for what it says."""

from __future__ import annotations

import os
import sys

import typer

UNTOLD = 3
"""Exit code of the commands that read a registry, where it could not be told."""
_CUT_OFF = 128 + 13
"""As a shell tells of a process that SIGPIPE ended."""


def answer(text: str) -> None:
    """Print to standard output. Where that is closed (``| head``) or full, end the command with a code of its own: 1
    would say that an image does not stream.
    """
    try:
        typer.echo(text)
    except OSError as error:
        # Python writes what is left once more when it ends, and would end with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(_CUT_OFF) from None
        typer.echo(f"Error: what was found could not be printed: {error}.", err=True)
        raise typer.Exit(UNTOLD) from None
