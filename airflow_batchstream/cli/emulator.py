"""``batchstream emulator``: the local Batch, and the variables that send programs to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="A local Google Cloud Batch that runs real containers.", add_completion=False, pretty_exceptions_enable=False
)

DEFAULT_PORT = 8484
DEFAULT_STATE = Path(".work/local-batch")

Host = Annotated[str, typer.Option(help="Address to listen on. Anything but loopback lets others run programs here.")]
Port = Annotated[int, typer.Option(help="Port for everything: Batch, Logging and images; 0 takes a free one.")]
StateDir = Annotated[Path, typer.Option(help="Jobs, log entries and images; kept for the next start.")]
Tls = Annotated[
    bool,
    typer.Option("--tls", help="Also the variables for programs that speak to Google only: its provider, its clients."),
]


@app.callback(invoke_without_command=True)
def emulator(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    state_dir: StateDir = DEFAULT_STATE,
    faults: Annotated[
        Path | None, typer.Option(help="A file of faults to inject (docs/local-batch.md).", exists=True, dir_okay=False)
    ] = None,
    runtime: Annotated[str, typer.Option(help="bwrap, namespace, process, or auto: the first that works.")] = "auto",
    grace: Annotated[float, typer.Option(help="Seconds from TERM to KILL for a task that has to end.")] = 5.0,
    queued: Annotated[float, typer.Option(help="Seconds that a job stays QUEUED.")] = 0.05,
    scheduled: Annotated[float, typer.Option(help="Seconds that a job stays SCHEDULED.")] = 0.1,
    slots: Annotated[int, typer.Option(help="Tasks that run at once, over all jobs.", min=1)] = 64,
    command: Annotated[
        str, typer.Option("--exec", help="Run this shell command against the local Batch, then stop both.")
    ] = "",
    tls: Tls = False,
) -> None:
    """Start a local Batch in the foreground; Ctrl-C stops it."""
    if context.invoked_subcommand:
        return
    try:
        from airflow_batchstream.emulator.config import Config
        from airflow_batchstream.emulator.main import run
    except ModuleNotFoundError as missing:
        typer.echo(
            f"The local Batch needs the module {missing.name}: pip install 'airflow-batchstream[emulator]'", err=True
        )
        sys.exit(1)
    config = Config(
        host=host, port=port, state_dir=state_dir, runtime=runtime, faults=faults,
        queued=queued, scheduled=scheduled, grace=grace, slots=slots,
    )  # fmt: skip
    sys.exit(run(config, command, tls=tls))


@app.command()
def env(
    host: Host = "127.0.0.1", port: Port = DEFAULT_PORT, state_dir: StateDir = DEFAULT_STATE, tls: Tls = False
) -> None:
    """Print the variables that send programs to a local Batch: ``eval "$(batchstream emulator env)"``."""
    import shlex

    from airflow_batchstream.emulator.config import environment, tls_environment

    address = f"{host}:{port}"
    variables = environment(address)
    if tls:
        variables |= tls_environment(address, state_dir)
        account = Path(variables["GOOGLE_APPLICATION_CREDENTIALS"])
        if not account.exists():
            typer.echo(f"There is no {account}: start the local Batch first, or name its --state-dir.", err=True)
            sys.exit(1)
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
