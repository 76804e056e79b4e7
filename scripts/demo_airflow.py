"""Airflow's side of ``make demo``: a database of its own, then example 1 by ``dag.test()``, all in this one process.

Started by ``scripts/demo.py``: says ``ready`` when Airflow is, waits for a line of JSON (the environment of the Dag),
prints Airflow's log, and ends with ``result {...}``.
"""

from __future__ import annotations

import json
import logging
import os
import runpy
import sys
import time
import warnings
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
DAG_FILE = TOP / "dags" / "example_1_json_job.py"


def configure(home: Path) -> None:
    """Airflow's settings: only what the operators say reaches the log."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAG_FILE.parent),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.task.operators.airflow_batchstream=INFO",
            "AIRFLOW__LOGGING__LOG_FORMAT": "%(asctime)s %(levelname)s %(name)s|%(message)s",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
    )
    warnings.simplefilter("ignore")  # of Airflow about itself: nothing that a user of the demo could change


def result_of(run: Any, seconds: float) -> dict[str, Any]:
    """What the demo tells at the end."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    asked = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, task_ids="job", key="batch_job")
    with create_session() as session:
        values = [XComModel.deserialize_value(row) for row in session.scalars(asked)]
    return {"state": str(run.state), "job": values[0] if values else None, "run_seconds": seconds}


def main() -> int:
    """Prepare, wait for the word, run."""
    configure(Path(sys.argv[1]))
    from airflow.utils.db import initdb

    logging.disable(logging.INFO)
    initdb()
    logging.disable(logging.NOTSET)
    print("ready", flush=True)
    go = sys.stdin.readline()
    if not go:
        return 1
    os.environ.update(json.loads(go))
    from airflow.sdk import DAG

    (dag,) = [value for value in runpy.run_path(str(DAG_FILE)).values() if isinstance(value, DAG)]
    began = time.monotonic()
    run = dag.test()
    print("result " + json.dumps(result_of(run, time.monotonic() - began)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
