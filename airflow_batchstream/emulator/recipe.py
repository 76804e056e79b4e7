"""What exactly is run for a runnable: the image's settings, the job's, and Batch's own, put together as Batch does.

Environment, later wins: image, Batch's variables, task, task environment, runnable.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.images.unpack import Bundle
from airflow_batchstream.emulator.runtimes.base import Container, Mount

HOSTS_FILE = "/etc/cloudbatch-taskgroup-hosts"
"""Where containers find the hosts file (source: Batch's documentation of ``requireHostsFile``)."""

HOST_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
"""What a script, which runs on this machine, keeps of its environment. Nothing else: it may hold secrets."""


@dataclass(frozen=True, slots=True)
class Context:
    """Which attempt of which task.

    :param group: the protobuf ``TaskGroup``.
    :param folder: this attempt's own, on this machine.
    """

    job_uid: str
    index: int
    attempt: int
    group: Any
    folder: Path
    buckets: Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """A container, ready to be started, and the sentence that the agent logs of it; it holds no values of variables."""

    container: Container
    says: str


def recipe(context: Context, position: int, runnable: Any, bundle: Bundle | None) -> Recipe:
    """How to run one runnable.

    :param bundle: the unpacked image, for a container.
    """
    hosts = context.folder / "hosts"
    if context.group.require_hosts_file and not hosts.exists():
        hosts.write_text("127.0.0.1\n")
    if bundle is not None:
        return _container(context, runnable, bundle)
    return _script(context, position, runnable)


def _container(context: Context, runnable: Any, bundle: Bundle) -> Recipe:
    spec, config = runnable.container, bundle.config
    streamed = spec.enable_image_streaming
    entrypoint = [spec.entrypoint] if spec.entrypoint else list(config.get("Entrypoint") or [])
    commands = list(spec.commands) or ([] if spec.entrypoint else list(config.get("Cmd") or []))
    image_env = dict(pair.partition("=")[::2] for pair in config.get("Env") or [])
    container = Container(
        argv=[*entrypoint, *commands],
        env=image_env | _variables(context, runnable, HOSTS_FILE),
        cwd=config.get("WorkingDir") or "/",
        user=config.get("User") or "",
        rootfs=bundle.rootfs,
        mounts=_mounts(context, spec),
        hostname=f"batch-{context.job_uid[-12:]}-{context.index}".lower(),
        network=streamed or not spec.block_external_network,  # Batch ignores the field when it streams the image
    )
    dropped = [name for name in ("options", "username", "password", "block_external_network") if getattr(spec, name)]
    ignored = f"; ignored with Image streaming: {', '.join(dropped)}" if streamed and dropped else ""
    says = f"{'ctr run' if streamed else 'docker run'} {spec.image_uri} {shlex.join(container.argv)}{ignored}"
    return Recipe(container, says)


def _script(context: Context, position: int, runnable: Any) -> Recipe:
    script = runnable.script
    if script.path:
        argv = [script.path] if os.access(script.path, os.X_OK) else ["/bin/sh", script.path]
    else:
        file = context.folder / f"script-{position}"
        file.write_text(script.text)
        file.chmod(0o700)
        argv = [str(file)] if script.text.startswith("#!") else ["/bin/sh", str(file)]
    own = {name: os.environ[name] for name in HOST_VARIABLES if name in os.environ}
    work = context.folder / "work"
    work.mkdir(exist_ok=True)
    env = own | _variables(context, runnable, str(context.folder / "hosts"))
    return Recipe(Container(argv=argv, env=env, cwd=str(work)), f"script {shlex.join(argv)}")


def _variables(context: Context, runnable: Any, hosts: str) -> dict[str, str]:
    group = context.group
    own = group.task_environments[context.index].variables if group.task_environments else {}
    batch = {
        "BATCH_TASK_INDEX": str(context.index),
        "BATCH_TASK_COUNT": str(group.task_count),
        "BATCH_TASK_RETRY_ATTEMPT": str(context.attempt),
        "BATCH_JOB_UID": context.job_uid,
        "BATCH_HOSTS_FILE": hosts,
    }
    if not group.require_hosts_file:
        del batch["BATCH_HOSTS_FILE"]
    task = group.task_spec
    return (
        batch
        | dict(task.environments)
        | dict(task.environment.variables)
        | dict(own)
        | dict(runnable.environment.variables)
    )


def _mounts(context: Context, spec: Any) -> tuple[Mount, ...]:
    """The container's own volumes; without any, all of the task's, each at its own path, as Batch does it."""
    host = {v.mount_path.rstrip("/"): _folder(context, v) for v in context.group.task_spec.volumes}
    mounts = []
    for volume in spec.volumes:
        source, target, *options = volume.split(":")
        mounts.append(Mount(_source(context, source, host), target, read_only="ro" in ",".join(options).split(",")))
    if not mounts:
        mounts = [Mount(folder, path) for path, folder in host.items()]
    if context.group.require_hosts_file:
        mounts.append(Mount(context.folder / "hosts", HOSTS_FILE, read_only=True))
    return tuple(mounts)


def _source(context: Context, path: str, host: Mapping[str, Path]) -> Path:
    """Where a volume's source is: below a task volume, on this machine, or in a folder that stands for the VM."""
    for mounted, folder in host.items():
        if path == mounted or path.startswith(f"{mounted}/"):
            found = folder / path.removeprefix(mounted).lstrip("/")
            break
    else:
        found = Path(path)
        if not found.exists():
            found = context.folder / "vm" / path.lstrip("/")
    if not found.exists():
        found.mkdir(parents=True)
    return found


def _folder(context: Context, volume: Any) -> Path:
    """The folder that stands for a bucket (kept) or a disk (empty for each attempt)."""
    if volume.gcs.remote_path:
        parts = [p for p in volume.gcs.remote_path.removeprefix("gs://").split("/") if p not in ("", ".", "..")]
        folder = context.buckets.joinpath(*parts)
    else:
        folder = context.folder / "disks" / (volume.device_name.replace("/", "_") or "disk")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
