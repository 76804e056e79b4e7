"""``batchstream image``: small images without Docker, and the way into a registry."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from airflow_batchstream.cli.printing import UNTOLD, fail, tell

if TYPE_CHECKING:
    from airflow_batchstream.core.endpoint import Endpoint
    from airflow_batchstream.core.images.reference import Reference
    from airflow_batchstream.emulator.images.build import ImageSpec

app = typer.Typer(
    help="Make small images without Docker, and push them to the local Batch.",
    add_completion=False,
    no_args_is_help=True,
)


def _address(text: str) -> str:
    """The option's value, read; empty for the registries themselves."""
    from airflow_batchstream.core.endpoint import read_address

    try:
        return read_address(text) if text.strip() else ""
    except ValueError as error:
        raise typer.BadParameter(f"{error} Write HOST:PORT, such as 127.0.0.1:8484, or leave it out.") from None


Emulator = Annotated[
    str,
    typer.Option(
        envvar="BATCH_EMULATOR_HOST",
        metavar="HOST:PORT",
        callback=_address,
        help="The local Batch, which stands for the registry of every name; without it, the name's own registry.",
    ),
]


def reached(emulator: str) -> Endpoint:
    """The registries themselves, or a local Batch that answers; where it does not, the command ends with 3."""
    from airflow_batchstream.clients.local_batch import reach
    from airflow_batchstream.core.endpoint import Endpoint
    from airflow_batchstream.core.errors import ApiRefused

    endpoint = Endpoint.local(emulator) if emulator else Endpoint()
    try:
        reach(endpoint, otherwise="leave out --emulator and BATCH_EMULATOR_HOST")
    except ApiRefused as error:
        fail(error, UNTOLD)
    return endpoint


@app.command()
def build(
    tag: Annotated[str, typer.Option("--tag", "-t", metavar="NAME", help="The image's full name.")],
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="SRC:DST", help="A file or folder to put into the image; may be given several times."),
    ] = None,
    cmd: Annotated[
        str, typer.Option(metavar="COMMAND", help="What runs if the job gives no commands, for `sh -c`.")
    ] = "",
    entrypoint: Annotated[str, typer.Option(metavar="WORDS", help="Split as a shell splits it.")] = "",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE")] = None,
    user: Annotated[str, typer.Option(help="As in a Dockerfile; `batch` is user 1000.")] = "",
    workdir: Annotated[str, typer.Option(help="Where commands start.")] = "/",
    python: Annotated[bool, typer.Option("--python", help="With this Python and its standard library.")] = False,
    tools: Annotated[bool, typer.Option(help="With this machine's shell and coreutils.")] = True,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress the layers; the digest may differ elsewhere.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Push it when it is built.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", file_okay=False, help="Keep it as an OCI image layout."),
    ] = None,
    emulator: Emulator = "",
) -> None:
    """Build a small image from this machine's shell and files; prints its full name with the digest.

    The same machine and files give the same digest each time.
    """
    from airflow_batchstream.emulator.images.build import DEFAULT_CMD, ImageSpec

    if output is None and not push:
        _fail("say where the image shall go: --push to a registry, or -o FOLDER to keep it as an image layout")
    spec = ImageSpec(
        entrypoint=_words(entrypoint, "--entrypoint"),
        cmd=("sh", "-c", cmd) if cmd else () if entrypoint else DEFAULT_CMD,
        env=_pairs(env, "--env"),
        user=user,
        workdir=workdir,
        labels=_pairs(label, "--label"),
        add=tuple(_added(text) for text in add or ()),
        python=python,
        tools=tools,
        gzip=gzip,
    )
    reference = _reference(tag)
    if output is not None:
        _build(spec, output, reference, push, emulator)
        return
    with tempfile.TemporaryDirectory(prefix="batchstream-image-") as folder:
        _build(spec, Path(folder), reference, push, emulator)


@app.command()
def push(
    layout: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="An OCI image layout.", exists=True, file_okay=False)
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The full name that the image gets.")],
    emulator: Emulator = "",
) -> None:
    """Push an image layout to the local Batch, or to another registry that wants no sign-in."""
    _push(layout, _reference(name), emulator)


def _build(spec: ImageSpec, folder: Path, reference: Reference, push: bool, emulator: str) -> None:
    from airflow_batchstream.emulator.images.build import build
    from airflow_batchstream.emulator.images.closure import BuildError

    try:
        digest = build(spec, folder, str(reference))
    except BuildError as error:
        _fail(str(error))
    if push:
        _push(folder, reference, emulator)
    else:
        typer.echo(f"{reference.name}@{digest}")


def _push(folder: Path, reference: Reference, emulator: str) -> None:
    from airflow_batchstream.emulator.images.layout import Layout, LayoutError
    from airflow_batchstream.emulator.images.push import PushError
    from airflow_batchstream.emulator.images.push import push as push_layout

    try:
        digest = push_layout(Layout(folder), reference, emulator, tell)
    except (PushError, LayoutError) as error:
        _fail(str(error))
    typer.echo(f"{reference.name}@{digest}")


def _reference(text: str) -> Reference:
    from airflow_batchstream.core.images.reference import parse

    try:
        return parse(text)
    except ValueError as error:
        _fail(str(error))


def _words(text: str, option: str) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        _fail(f"{option} {text!r}: {error}")


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            _fail(f"{option} {text!r}: write NAME=VALUE")
        found[name] = value
    return found


def _added(text: str) -> tuple[Path, str]:
    source, colon, target = text.rpartition(":")
    if not colon or not source or not target:
        _fail(f"--add {text!r}: write SRC:DST, a path of this machine and one inside the image")
    return Path(source), target


def _fail(why: str) -> NoReturn:
    fail(why, os.EX_USAGE)
