"""The services of ``docker-compose.yaml`` as processes of this machine: what Compose does, without Docker.

``docker-compose config`` gives the file as Compose understands it. Each service has its own command, environment,
health check, order of start and mounts. Translated is what cannot be the same outside of a container: host names and
ports become free ports on loopback, and each service's ``/opt/airflow`` a folder of its own, with the volumes as links
in it. What two services share is what the file lets them share. And each has what Docker gives a container: no new
privileges, no namespaces, no mounts.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import docker_profile
import yaml
from live_airflow import die_with_parent, free_port

TOP = Path(__file__).parent.parent.parent
FILE = TOP / "docker-compose.yaml"
HOME = "/opt/airflow"
"""``AIRFLOW_HOME`` and the working directory of Airflow's image."""
PORTS = {"postgres": 5432, "api-server": 8080, "local-batch": 8484, "scheduler": 8974}
PROGRAMS = Path(sys.executable).parent
HEALTHY_SECONDS = 120.0
STOP_SECONDS = 15.0


def compose() -> list[str]:
    """Compose as this machine has it; empty if it has none."""
    if program := shutil.which("docker-compose"):
        return [program]
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return [docker, "compose"]
    return []


def enter() -> None:
    """In a child, before it becomes the service's program."""
    die_with_parent()
    docker_profile.confine()


def postgres_programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, which Debian does not put on PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def config(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """``docker-compose config`` of a copy of the file in this folder, with the ``.env`` that is there.

    :param env: the only variables besides those of ``.env``.
    """
    shutil.copy(FILE, folder)
    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [*compose(), "config"], cwd=folder, env=plain | env, capture_output=True, text=True, check=False
    )


@dataclass
class Stack:
    """What ``docker compose up`` starts.

    :param folder: where the file is read: with ``.env`` and ``dags``. The services' own folders, volumes and output go
        there too.
    :param services: by name, as ``docker-compose config`` prints them.
    """

    folder: Path
    services: Mapping[str, Mapping[str, Any]]
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Stack:
        """The stack of the file, with the ``.env`` of this folder."""
        done = config(folder)
        if done.returncode:
            raise RuntimeError(f"docker-compose config: {done.stderr}")
        return cls(folder, yaml.safe_load(done.stdout)["services"])

    def up(self) -> None:
        """Start every service once those that it depends on are as it wants them.

        :raises RuntimeError: one ended or did not get healthy; with what all printed.
        """
        order = TopologicalSorter({name: list(s.get("depends_on", ())) for name, s in self.services.items()})
        for name in order.static_order():
            for other, wanted in self.services[name].get("depends_on", {}).items():
                self._await(other, str(wanted["condition"]))
            self._start(name)

    def down(self) -> list[int]:
        """End all processes and their descendants; the ids of those that only their environment gave away."""
        database = self.processes.pop("postgres", None)
        self._end(list(self.processes.values()), signal.SIGTERM)
        self._end([database] if database else [], signal.SIGINT)  # what the image names as its signal to stop
        left = self._left()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    @staticmethod
    def _end(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)
        end = time.monotonic() + STOP_SECONDS
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _left(self) -> list[int]:
        """Processes that still run with an environment of this stack."""
        mark, found = str(self.folder).encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check holds, once."""
        test = self.services[name]["healthcheck"]["test"]
        if test[0] != "CMD":
            raise RuntimeError(f"{name}: a health check of the form {test[0]} is not known here")
        with (self.folder / f"{name}.health").open("ab") as out:
            done = subprocess.run(
                [self.translate(name, word) for word in test[1:]],
                env=self.environment(name),
                cwd=self.home(name),
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        return done.returncode == 0

    def home(self, name: str) -> Path:
        """What is ``/opt/airflow`` in the service's container."""
        return self.folder / "root" / name / HOME.lstrip("/")

    def translate(self, name: str, text: str) -> str:
        """A word of the file as it must be outside of containers."""
        for host, port in PORTS.items():
            text = re.sub(rf"\b({host}|localhost):{port}\b", f"127.0.0.1:{self.ports[host]}", text)
        text = text.replace("--host=0.0.0.0", "--host=127.0.0.1")
        text = text.replace("--port=8484", f"--port={self.ports['local-batch']}")
        return text.replace(HOME, str(self.home(name))).replace("$$", "$")

    def environment(self, name: str) -> dict[str, str]:
        """All of the service's variables: the file's, the image's, and on which of this machine's ports to serve."""
        own = self.services[name].get("environment", {})
        image = {"AIRFLOW_HOME": HOME, "PYTHONUNBUFFERED": "1"}
        programs = [PROGRAMS, postgres_programs(), os.environ["PATH"]]
        return {
            "PATH": ":".join(str(path) for path in programs if path),
            "HOME": str(self.folder / "root" / name),
            "LANG": "C.UTF-8",
            "PGPORT": str(self.ports["postgres"]),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["api-server"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["scheduler"]),
            **{key: self.translate(name, str(value)) for key, value in (image | own).items()},
        }

    def command(self, name: str) -> list[str]:
        """The service's command; Airflow's image puts ``airflow`` before all but these."""
        service = self.services[name]
        words = [self.translate(name, word) for word in service["command"]]
        if "entrypoint" in service:
            return [*service["entrypoint"], *words]
        return words if words[0] in ("bash", "python") else ["airflow", *words]

    def printed(self, lines: int = 30) -> str:
        """The last lines of each service, for the message of a failed test."""
        files = [*sorted(self.folder.glob("*.out")), *sorted(self.folder.glob("*.health"))]
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) for path in files
        )

    def _start(self, name: str) -> None:
        self._mount(name)
        if name == "postgres":
            self.processes[name] = self._postgres()
        else:
            self.processes[name] = self._process(name, self.command(name))

    def _mount(self, name: str) -> None:
        self.home(name).mkdir(parents=True)
        # A shorter path first: one volume may be mounted inside another.
        mounts = sorted((volume.split(":")[:2] for volume in self._volumes(name)), key=lambda pair: pair[1])
        for source, target in mounts:
            if not target.startswith(HOME):
                continue
            volume = self.folder / "volumes" / source  # a path, if the source is one
            volume.mkdir(parents=True, exist_ok=True)
            place = Path(self.translate(name, target))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(volume)

    def _volumes(self, name: str) -> list[str]:
        """``SOURCE:TARGET``; the older Compose prints them so, the newer one as mappings."""
        volumes = self.services[name].get("volumes", [])
        return [v if isinstance(v, str) else f"{v['source']}:{v['target']}" for v in volumes]

    def _process(self, name: str, command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.out").open("ab") as out:
            return subprocess.Popen(
                command,
                env=self.environment(name),
                cwd=self.home(name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=enter,
                **how,
            )

    def _postgres(self) -> subprocess.Popen[bytes]:
        """What the Postgres image does with its variables. It refuses to run as root, here as there."""
        env = self.environment("postgres")
        data = self.folder / "volumes" / "postgres"
        data.mkdir(parents=True)
        password = data.parent / "postgres-password"
        password.write_text(env["POSTGRES_PASSWORD"])
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (data, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._once(
            [
                "initdb", f"--pgdata={data}", f"--username={env['POSTGRES_USER']}", f"--pwfile={password}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync",
            ],
            **who,
        )  # fmt: skip
        server = self._process(
            "postgres",
            ["postgres", "-D", str(data), "-h", "127.0.0.1", "-k", str(data), "-c", "fsync=off"],
            **who,
        )
        self.processes["postgres"] = server
        self._await("postgres", "service_healthy")
        self._once(["createdb", "--host=127.0.0.1", f"--username={env['POSTGRES_USER']}", env["POSTGRES_DB"]])
        return server

    def _once(self, command: Sequence[str], **how: Any) -> None:
        """A step of making the database."""
        with (self.folder / "postgres.out").open("ab") as out:
            env = self.environment("postgres")
            done = subprocess.run(
                command,
                env=env | {"PGPASSWORD": env["POSTGRES_PASSWORD"]},
                cwd=self.home("postgres"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
                **how,
            )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed\n{self.printed()}")

    def _await(self, name: str, condition: str) -> None:
        process, end = self.processes[name], time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < end:
            code = process.poll()
            if condition == "service_completed_successfully":
                if code == 0:
                    return
                if code is not None:
                    break
            elif condition == "service_healthy" and code is None:
                if self.healthy(name):
                    return
            else:
                break
            time.sleep(0.3)
        raise RuntimeError(f"{name} is not {condition}, its exit code is {process.poll()}\n{self.printed()}")
