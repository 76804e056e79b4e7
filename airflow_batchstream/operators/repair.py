"""The operator that makes an image eligible for Image streaming."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, XComArg

from airflow_batchstream import connection
from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.operators.errors import final_errors
from airflow_batchstream.tasklog import TaskLog

REPAIR_KEY = "image_repair"
"""XCom key of the small dict that says what was done."""
_NOT_REPAIRED = "Nothing was repaired"
_FLAGS = ("move_tag", "dry_run", "copy_layers")


class ImageRepairOperator(BaseOperator):
    """Write an image anew without its empty and duplicate layers, or as schema 2, so that it can be streamed.

    The files in it stay the same and no layer is moved: a new config and manifest over the same layers are written to
    the target. The source is only read. ``return_value`` is the pinned reference of the repaired image, to be handed
    to a job's ``image_uri``; of the source where nothing is to be repaired, and in a dry run. XCom ``image_repair`` is
    a dict of what was done. The same source gives the same digest each time, so a retry finds what a run before it
    has written.

    :param source: ``LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`` with a tag or digest.
    :param target: the name that the repaired image gets, with a tag: in the source's repository, or in another one of
        the same registry.
    :param platforms: of an image for several platforms, those that the target shall have (``["linux/amd64"]``); None
        for all.
    :param move_tag: move the target's tag if it names another image; without, the task fails then.
    :param dry_run: say what would be done, and write nothing.
    :param copy_layers: read and write the layers where the registry does not share them between the two repositories;
        without, the task fails then.
    :param gcp_conn_id: the Airflow connection whose credentials write to the registry: they need
        ``roles/artifactregistry.writer`` on the target's repository.
    :param impersonation_chain: a service account to act as, or a chain of them, the last being the one that acts.
    :raises InvalidInput: an argument is of another kind; when the Dag is parsed, or of what was rendered by the task.
    """

    template_fields: Sequence[str] = ("source", "target", "platforms", "gcp_conn_id", "impersonation_chain")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        source: str | XComArg,
        target: str | XComArg,
        platforms: Sequence[str] | str | XComArg | None = None,
        move_tag: bool = False,
        dry_run: bool = False,
        copy_layers: bool = False,
        gcp_conn_id: str = connection.DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.platforms = platforms
        self.move_tag = move_tag
        self.only_look = dry_run
        self.copy_layers = copy_layers
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        flags = dict(zip(_FLAGS, (move_tag, dry_run, copy_layers), strict=True))
        names = {"source": source, "target": target}
        _refuse(
            [
                *(_no_flag(path, value) for path, value in flags.items() if not isinstance(value, bool)),
                *(_no_name(path, value) for path, value in names.items() if not isinstance(value, str | XComArg)),
            ]
        )

    def execute(self, context: Any) -> str:
        """Repair the image and return the reference to run."""
        from airflow_batchstream.core.images.repaired import table
        from airflow_batchstream.services.repair import repair

        log = TaskLog(self.log)
        with final_errors():
            source, target = self._names()
            platforms = self._platforms()
            endpoint, _ = connection.locate(self.gcp_conn_id, self.impersonation_chain)
            connection.reach(endpoint)
            credentials, _ = connection.credentials(endpoint)
            done = asyncio.run(
                repair(
                    source,
                    target,
                    endpoint=endpoint,
                    token=connection.token_source(credentials),
                    platforms=platforms,
                    move_tag=self.move_tag,
                    dry_run=self.only_look,
                    copy_layers=self.copy_layers,
                    say=lambda line: log.say(logging.INFO, line),
                )
            )
            log.table(table(done))
            context["ti"].xcom_push(key=REPAIR_KEY, value=done.as_dict())
        return done.pinned

    def _names(self) -> tuple[str, str]:
        """Source and target, rendered."""
        names = {"source": self.source, "target": self.target}
        _refuse([_no_name(path, value) for path, value in names.items() if not isinstance(value, str)])
        return str(self.source), str(self.target)

    def _platforms(self) -> list[str]:
        """The platforms, rendered. One may be written without a list."""
        given: Any = self.platforms
        if isinstance(given, str):
            return [given]
        several = isinstance(given, Iterable) and not isinstance(given, Mapping | bytes)
        found = list(given) if several else [] if given is None else [given]
        if not all(isinstance(platform, str) for platform in found):
            says = f"{_shown(given)} is no list of platforms."
            remedy = 'Write ["linux/amd64"], or None for all platforms of the image.'
            _refuse([Finding("argument", Verdict.BROKEN, "platforms", _shown(given), says, remedy)])
        return found


def _no_flag(path: str, value: object) -> Finding:
    says = f"{_shown(value)} is neither True nor False; this argument is not a template, nor taken from XCom."
    remedy = f"Write {path}=True or {path}=False, without quotes."
    return Finding("argument", Verdict.BROKEN, path, _shown(value), says, remedy)


def _no_name(path: str, value: object) -> Finding:
    says = f"{_shown(value)} is no image's name."
    remedy = "Give a text such as us-docker.pkg.dev/acme/batch/train:1.4"
    remedy += "; the task that it comes from may have returned nothing." if value is None else "."
    return Finding("argument", Verdict.BROKEN, path, _shown(value), says, remedy)


def _shown(value: object) -> str:
    return repr(value)[:200]


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        raise InvalidInput(findings, lead=_NOT_REPAIRED)
