"""The command ``batchstream``.

Each group of commands is a module of its own, imported only when it is asked for, so that ``--help`` is quick and an
installation without the extra ``emulator`` can say what is missing.
"""

from __future__ import annotations

import importlib.util

import typer

app = typer.Typer(
    name="batchstream",
    help="Image-streaming Google Cloud Batch jobs from Airflow: the local Batch, and images for it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the console script."""
    for name in ("emulator", "image"):
        if importlib.util.find_spec(f"{__name__}.{name}"):
            module = importlib.import_module(f"{__name__}.{name}")
            app.add_typer(module.app, name=name)
    app()
