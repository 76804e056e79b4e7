"""Bad days of deferred tasks: what containers can print, jobs that others touch, a triggerer that is lost.

Every job goes on for longer than the worker looks, so that the triggerer shows its lines.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")

ODD: dict[bytes, str] = {
    b"100% of %s, %d, %(x)s and %": "100% of %s, %d, %(x)s and %",
    b"{x} {0} {{ y }} {% z %} }{": "{x} {0} {{ y }} {% z %} }{",
    b"\x1b[31mred\x1b[0m, \x1b[2K\x1b[1Aerased, \x1b]0;title\x07untitled": "\x1b[31mred\x1b[0m, erased, untitled",
    b"nul \x00 bell \x07 tab \t escape \x1b.": "nul ␀ bell ␇ tab \t escape ␛.",
    b"\xff\xfe\x80 is no UTF-8": "��� is no UTF-8",
    b"\x7fELF\x02\x01\x01\x00": "␡ELF␂␁␁␀",
    b"carriage return and line feed\r": "carriage return and line feed",
    b"10 %\r50 %\r100 %": "10 %␍50 %␍100 %",
    b"": "",
    "ünïcödé 🚀 \u2028 one line".encode(): "ünïcödé 🚀 ␤ one line",
    b"'single' \"double\" `back` \\n <b>html</b> $HOME": "'single' \"double\" `back` \\n <b>html</b> $HOME",
    b'{"event": "mine", "level": "critical", "timestamp": "2020-01-01T00:00:00Z", "logger": "root"}': (
        '{"event": "mine", "level": "critical", "timestamp": "2020-01-01T00:00:00Z", "logger": "root"}'
    ),
    b"[2020-01-01, 00:00:00 UTC] {file.py:1} ERROR - as Airflow 2 wrote": (
        "[2020-01-01, 00:00:00 UTC] {file.py:1} ERROR - as Airflow 2 wrote"
    ),
    b"no line end": "no line end",
}
"""What is printed, the last one without a line end -> what is shown."""


def octal(data: bytes) -> str:
    """For ``printf``: no shell and no template finds anything in it."""
    return "".join(f"\\{byte:03o}" for byte in data)


def shell(script: str, **more: Any) -> dict[str, Any]:
    """A deferred job of a container that runs a script."""
    common = {"image_uri": IMAGE, "project_id": "my-project", "region": "us-central1", "polling_period_seconds": 1}
    return {"entrypoint": "sh", "commands": ["-c", script], "deferrable": True, **common, **more}


with DAG(dag_id="case_bad_lines", schedule=None, catchup=False):
    CloudBatchStreamingJobOperator(task_id="odd", **shell(f"printf '{octal(chr(10).encode().join(ODD))}'; sleep 12"))
    CloudBatchStreamingJobOperator(
        task_id="huge", **shell("echo before; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after; sleep 12")
    )
    CloudBatchStreamingJobOperator(
        task_id="instant", **shell("i=1; while [ $i -le 10000 ]; do echo instant $i; i=$((i+1)); done; sleep 12")
    )

with DAG(dag_id="case_bad_two", schedule=None, catchup=False):
    made = CloudBatchStreamingJobOperator(
        task_id="submit", **shell("sleep 12; seq 1 300; sleep 3; seq 301 600", wait_for_completion=False)
    )
    for name in ("one", "other"):
        CloudBatchJobSensor(task_id=name, job=made.output, get_logs=True, deferrable=True, poke_interval=1)

with DAG(dag_id="case_bad_deleted", schedule=None, catchup=False):
    CloudBatchStreamingJobOperator(task_id="job", **shell("echo begun; sleep 300", retries=2))

with DAG(dag_id="case_bad_late", schedule=None, catchup=False):
    CloudBatchStreamingJobOperator(
        task_id="job", **shell("i=1; while [ $i -le 100 ]; do echo late $i; i=$((i+1)); sleep 0.02; done; sleep 62")
    )

with DAG(dag_id="case_bad_burst", schedule=None, catchup=False):
    gate = {"gcs": {"remotePath": "my-bucket/bad/{{ run_id }}"}, "mountPath": "/mnt/disks/gate"}
    CloudBatchStreamingJobOperator(
        task_id="job",
        job={"taskGroups": [{"taskSpec": {"volumes": [gate]}}]},
        volumes=["/mnt/disks/gate:/gate"],
        **shell(
            "while [ ! -e /gate/open ]; do sleep 0.2; done; i=1; while [ $i -le 12000 ]; do echo line $i; "
            "[ $((i % 100)) != 0 ] || sleep 0.05; i=$((i+1)); done"
        ),
    )
