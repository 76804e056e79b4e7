"""The command ``batchstream``.

Each group of commands is a module of its own; what they need is imported when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import io
import sys

import typer

from airflow_batchstream.cli import emulator, image, repair, scan

app = typer.Typer(
    name="batchstream",
    help="Image-streaming Google Cloud Batch jobs from Airflow: the local Batch, and images for it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(emulator.app, name="emulator")
app.add_typer(image.app, name="image")
app.command(help=scan.HELP, epilog=scan.EPILOG)(scan.scan)
app.command(help=repair.HELP, epilog=repair.EPILOG)(repair.repair)


def main() -> None:
    """Entry point of the console script, and of ``python -m airflow_batchstream``."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has the "…" of a build step
    app(prog_name="batchstream")
