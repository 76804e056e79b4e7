"""``batchstream scan``: will these images stream?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from airflow_batchstream.cli.image import Emulator

if TYPE_CHECKING:
    from airflow_batchstream.services.scan import Scan

STREAMS, DOES_NOT, USAGE, UNTOLD = 0, 1, 2, 3
EPILOG = """Example: batchstream scan --region us-central1 us-docker.pkg.dev/acme/batch/train:1.4

Exit codes: 0 every image may be streamed; 1 one does not stream; 2 wrong usage; 3 could not be told."""


def scan(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Images by tag or digest. No layers are downloaded.")
    ],
    region: Annotated[
        str, typer.Option(metavar="REGION", help="The job's region, which the images' location must contain.")
    ] = "",
    machine_type: Annotated[
        str, typer.Option(metavar="TYPE", help="The job's machine type: c4a-standard-8 wants arm64, others amd64.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    emulator: Emulator = "",
) -> None:
    """Say whether Image streaming can start an image, why not, and what to do about it.

    Reads manifests and configs, some kilobytes whatever the image's size, and runs nothing. Google's application
    default credentials are used (gcloud auth application-default login); they need roles/artifactregistry.reader.
    """
    import asyncio
    import json

    from airflow_batchstream.cli.credentials import google_token
    from airflow_batchstream.core.endpoint import Endpoint
    from airflow_batchstream.core.errors import BatchStreamError, ImageRefused, InvalidInput
    from airflow_batchstream.services.scan import table
    from airflow_batchstream.services.scan_job import scan_each

    try:
        scans = asyncio.run(
            scan_each(
                images,
                region=region,
                machine_type=machine_type,
                endpoint=Endpoint.local(emulator) if emulator else Endpoint(),
                token=google_token(),
            )
        )
    except BatchStreamError as error:
        _fail(error, USAGE if isinstance(error, InvalidInput | ImageRefused) else UNTOLD)
    if as_json:
        typer.echo(json.dumps({"images": [one.as_dict() for one in scans]}, indent=2))
    else:
        typer.echo("\n\n".join("\n".join(table(one)) for one in scans))
    raise typer.Exit(_code(scans))


def _code(scans: list[Scan]) -> int:
    """One image that does not stream is worse than one of which it could not be told."""
    from airflow_batchstream.core.findings import Verdict

    said = {one.verdict for one in scans}
    return DOES_NOT if Verdict.BROKEN in said else UNTOLD if Verdict.UNKNOWN in said else STREAMS


def _fail(error: Exception, code: int) -> NoReturn:
    typer.echo(f"Error: {error}", err=True)
    raise typer.Exit(code)
