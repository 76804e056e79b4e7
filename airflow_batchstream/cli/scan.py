"""``batchstream scan``: will these images stream, or those of a job?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airflow_batchstream.cli.image import Emulator, reached
from airflow_batchstream.cli.printing import UNTOLD, USAGE, answer, fail

if TYPE_CHECKING:
    from airflow_batchstream.core.findings import Verdict

STREAMS, DOES_NOT = 0, 1
HELP = "\n\n".join(
    (
        "Say whether Image streaming can start an image, why not, and what to do about it.",
        "Reads manifests, configs and the smallest layers: some kilobytes, whatever the image's size.",
        "Needs roles/artifactregistry.reader, by Google's application default credentials (gcloud auth "
        "application-default login). Where BATCH_EMULATOR_HOST is set, a local Batch is asked, without credentials.",
    )
)
EPILOG = """Examples: an image, a whole job, a list of images:

batchstream scan --region us-central1 us-docker.pkg.dev/acme/batch/train:1.4
batchstream scan --job job.json
batchstream scan --region us-central1 $(cat images.txt)

Exit codes: 0 all may be streamed; 1 one does not stream; 2 wrong usage; 3 could not be told."""


def _region(text: str) -> str:
    """The option's value, if it is a region or empty."""
    from airflow_batchstream.core.images.locations import no_region

    if text and (why := no_region(text)):
        raise typer.BadParameter(" ".join(why))
    return text


def scan(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Images by tag or digest. They are only read.")
    ] = None,
    region: Annotated[
        str,
        typer.Option(
            metavar="REGION", callback=_region, help="The job's region, which the images' location must contain."
        ),
    ] = "",
    machine_type: Annotated[
        str, typer.Option(metavar="TYPE", help="The job's machine type: c4a-standard-8 wants arm64, most want amd64.")
    ] = "",
    job: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, exists=True, help="A job, JSON or YAML, instead of images."),
    ] = None,
    max_small_blobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Small layers of one image to look into at most; default 8."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    emulator: Emulator = "",
) -> None:
    """Look at images, or at those of a job, and print what was found: :data:`HELP` in short."""
    import asyncio
    import json

    from airflow_batchstream.cli.credentials import google_token
    from airflow_batchstream.core.errors import BatchStreamError
    from airflow_batchstream.core.images.scan_summary import summary
    from airflow_batchstream.core.images.scan_table import table
    from airflow_batchstream.services.scan import MOST_SMALL_BLOBS, read, scan_all
    from airflow_batchstream.services.scan_job import job_table, scan_job

    if bool(images) == bool(job):
        few, many = "Give an image, or a job with --job.", "Give images, or a job with --job, and not both."
        fail(many if images else few, USAGE)
    endpoint, token = reached(emulator), google_token()
    most = MOST_SMALL_BLOBS if max_small_blobs is None else max_small_blobs
    try:
        if job:
            of_job = asyncio.run(
                scan_job(
                    _text(job),
                    name=job.name,
                    region=region,
                    endpoint=endpoint,
                    token=token,
                    machine_type=machine_type,
                    most_small_blobs=most,
                )
            )
            answer(json.dumps(of_job.as_dict(), indent=2) if as_json else "\n".join(job_table(of_job)))
            raise typer.Exit(_code([of_job.verdict]))
        for name in images or ():
            read(name)
        scans = asyncio.run(
            scan_all(
                list(dict.fromkeys(images or ())),
                region=region,
                endpoint=endpoint,
                token=token,
                machine_type=machine_type,
                tolerant=True,
                missing_too=True,
                most_small_blobs=most,
            )
        )
    except BatchStreamError as error:  # a name that is none, a file that is no job: what can be read at all is a scan
        fail(error, USAGE)
    if as_json:
        found = [one.as_dict() | {"region": region} for one in scans]  # as a scan task's XCom
        answer(json.dumps({"images": found}, indent=2))
    else:
        parts = [*map(table, scans), summary(scans)]
        answer("\n\n".join("\n".join(part) for part in parts if part))
    raise typer.Exit(_code(one.verdict for one in scans))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}.", USAGE)


def _code(verdicts: Iterable[Verdict]) -> int:
    """One image that does not stream is worse than one of which it could not be told."""
    from airflow_batchstream.core.findings import Verdict

    said = set(verdicts)
    return DOES_NOT if Verdict.BROKEN in said else UNTOLD if Verdict.UNKNOWN in said else STREAMS
