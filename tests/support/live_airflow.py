"""A whole Airflow for a test session: its own home, free ports on loopback, and nothing left behind.

``airflow standalone`` would do, but it starts some forty processes, listens on all interfaces and leaves orphans. So
the processes are started one by one, each in a session of its own that can be ended as a whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_api import AirflowApi

PARALLELISM = 8
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """In a child: be told to stop when the tests' process is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class LiveAirflow:
    """Airflow's processes.

    :param home: an empty folder: configuration, database, task logs, and what the processes print.
    :param dags: the folder of Dag files.
    :param env: environment for all of Airflow's processes, tasks included.
    :param triggerer: whether to start one; sync operators need none.
    """

    home: Path
    dags: Path
    env: Mapping[str, str] = field(default_factory=dict)
    triggerer: bool = False
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the API server is."""
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        """The whole environment: the caller's without its Airflow, ours, the test's."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW__")}
        return own | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(PARALLELISM),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            **self.env,
        }

    @property
    def database(self) -> Path:
        """In memory where the machine has such a place: a disk that waits for each commit stalls the scheduler."""
        memory = Path("/dev/shm")
        name = f"batchstream-{os.getpid()}-{abs(hash(self.home)) % 10**8}.db"
        return memory / name if os.access(memory, os.W_OK) else self.home / "airflow.db"

    def start(self, dag_ids: Sequence[str], *, within: float = 120.0) -> AirflowApi:
        """Start all processes and wait until every named Dag is known.

        :raises RuntimeError: a process died, a Dag file does not import, or the time is over; with what was printed.
        """
        self._migrate()
        commands = {"api-server": [], "scheduler": ["--skip-serve-logs"], "dag-processor": []}
        if self.triggerer:
            commands["triggerer"] = ["--skip-serve-logs"]
        for name, options in commands.items():
            self.processes[name] = self._run(name, options)
        try:
            return self._wait_for(dag_ids, time.monotonic() + within)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all processes and all of their descendants."""
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + 10
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()
        for path in self.database.parent.glob(f"{self.database.name}*"):
            path.unlink(missing_ok=True)

    def lose_triggerer(self, how: int) -> None:
        """SIGTERM tells its main process to stop, as a pod's shutdown does; SIGKILL ends all, as a lost machine."""
        process = self.processes["triggerer"]
        if how == signal.SIGKILL:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(how)
        process.wait(60)

    def bring_triggerer_back(self) -> None:
        """Start one again."""
        self.processes["triggerer"] = self._run("triggerer", ["--skip-serve-logs"])

    def printed(self, lines: int = 30) -> str:
        """The last lines of each process, for the message of a failed test."""
        files = sorted(self.home.glob("*.out"))
        return "\n".join(
            f"--- {path.stem}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) for path in files
        )

    def _migrate(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        done = self._run("db", ["migrate"])
        if done.wait(120):
            raise RuntimeError(f"airflow db migrate failed\n{self.printed()}")
        # Readers and the one writer no longer wait for each other: a dozen tasks report through one API server.
        with sqlite3.connect(self.database) as database:
            database.execute("PRAGMA journal_mode=WAL")

    def _run(self, name: str, options: Sequence[str]) -> subprocess.Popen[bytes]:
        program = shutil.which("airflow", path=str(Path(sys.executable).parent))
        if program is None:
            raise RuntimeError(f"no airflow program beside {sys.executable}")
        with (self.home / f"{name}.out").open("wb") as out:
            return subprocess.Popen(
                [program, name, *options],
                env=self.settings(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _wait_for(self, dag_ids: Sequence[str], deadline: float) -> AirflowApi:
        api = AirflowApi(self.url)
        missing = set(dag_ids)
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"airflow {name} ended with {process.returncode}\n{self.printed()}")
            if api.healthy():
                broken = api.import_errors()
                if broken:
                    raise RuntimeError("Dag files that do not import:\n" + "\n".join(broken))
                missing = set(dag_ids) - api.dag_ids()
                if not missing:
                    return api
            time.sleep(0.5)
        raise RuntimeError(f"Airflow does not know {sorted(missing)} after its time\n{self.printed()}")
