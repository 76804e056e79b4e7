"""``batchstream repair``: an image that Image streaming does not take, made into one that it may take."""

from __future__ import annotations

from typing import Annotated

import typer

from airflow_batchstream.cli.image import Emulator, reached
from airflow_batchstream.cli.printing import UNTOLD, USAGE, answer, fail, tell

CANNOT = 1
HELP = "\n\n".join(
    (
        "Write an image anew without its empty and duplicate layers, or as schema 2, so that it can be streamed.",
        "The files in it stay the same, and no layer is moved: a new config and manifest over the same layers are "
        "written to TARGET, a tag in SOURCE's repository or in another one of the same registry.",
        "Needs roles/artifactregistry.writer there, by Google's application default credentials (gcloud auth "
        "application-default login). Where BATCH_EMULATOR_HOST is set, a local Batch is asked, without credentials.",
    )
)
EPILOG = """Example:

batchstream repair us-docker.pkg.dev/acme/batch/train:1.4 \\
    us-docker.pkg.dev/acme/batch/train:1.4-r1

Exit codes: 0 repaired, or needs no repair; 1 cannot be repaired, or TARGET's tag names another image; 2 wrong usage; \
3 could not be told."""


def repair(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The image, by tag or digest. It is only read.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The name with a tag that the repaired one gets.")],
    platform: Annotated[
        list[str] | None,
        typer.Option(metavar="OS/ARCH", help="Of an image for several platforms: only this one; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    move_tag: Annotated[
        bool, typer.Option("--move-tag", help="Move TARGET's tag if it names another image; else that is refused.")
    ] = False,
    copy_layers: Annotated[
        bool, typer.Option("--copy-layers", help="Copy the layers where the registry cannot share them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    emulator: Emulator = "",
) -> None:
    """Repair one image and print what was done: :data:`HELP` in short."""
    import asyncio
    import json

    from airflow_batchstream.cli.credentials import google_token
    from airflow_batchstream.core.errors import BatchStreamError, ImageRefused, InvalidInput
    from airflow_batchstream.core.images.repaired import table
    from airflow_batchstream.services.repair import repair as run

    try:
        done = asyncio.run(
            run(
                source,
                target,
                endpoint=reached(emulator),
                token=google_token(),
                platforms=platform or [],
                move_tag=move_tag,
                dry_run=dry_run,
                copy_layers=copy_layers,
                say=tell,
            )
        )
    except InvalidInput as error:
        fail(error, USAGE)
    except BatchStreamError as error:
        untold = error.retryable or (isinstance(error, ImageRefused) and error.untold)
        fail(error, UNTOLD if untold else CANNOT)
    answer(json.dumps(done.as_dict(), indent=2) if as_json else "\n".join(table(done)))
