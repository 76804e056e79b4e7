"""Every service of docker-compose.yaml with its own command and environment, without Docker: Dags run, with logs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_api import AirflowApi, ApiError, Run
from compose_stack import TOP, Stack, compose, postgres_programs
from docker_profile import known
from making_env import make_env, secrets_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not compose(), reason="no docker-compose on PATH (on Debian: apt install docker-compose)"),
    pytest.mark.skipif(postgres_programs() is None, reason="no Postgres (on Debian: apt install postgresql)"),
    pytest.mark.skipif(not known(), reason="not applicable: a machine whose system calls have other numbers"),
]
DAGS = ("case_deferred", "example_1_json_job", "example_3_submit_and_watch", "example_5_pipeline")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """All services, started in the order and under the conditions of the file."""
    with tempfile.TemporaryDirectory(prefix="batchstream-compose-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres runs as another user
        make_env(folder / ".env")
        for dags in (TOP / "dags", Path(__file__).parent / "dags"):
            shutil.copytree(dags, folder / "dags", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        stack = Stack.read(folder)
        try:
            stack.up()
            yield stack
        finally:
            left = stack.down()
        assert left == []


@pytest.fixture(scope="module")
def airflow(stack: Stack) -> AirflowApi:
    """Airflow's API, with the login of .env."""
    url = f"http://127.0.0.1:{stack.ports['api-server']}"
    login = {"username": "admin", "password": secrets_of(stack.folder / ".env")["AIRFLOW_ADMIN_PASSWORD"]}
    return AirflowApi(url, AirflowApi._send("POST", f"{url}/auth/token", login, {})["access_token"])


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi) -> dict[str, Run]:
    """One of each Dag, all at once. In the file, as by Airflow's default, new Dags are paused."""
    made = {dag_id: airflow.trigger(dag_id) for dag_id in DAGS}
    for dag_id in DAGS:
        airflow.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
    return made


class TestServices:
    def test_a_job_runs_and_its_containers_lines_are_in_the_task_log(self, runs: dict[str, Run], stack: Stack) -> None:
        run = runs["example_1_json_job"]
        assert run.wait() == "success", stack.printed()
        lines = [(line.logger, line.text) for line in run.task("job").log()]
        for task in (0, 1):
            assert lines.count((f"batch.group0.{task}", f"hello from task {task} of 2")) == 1

    def test_a_deferred_task_shows_its_lines_from_the_triggerer(self, runs: dict[str, Run], stack: Stack) -> None:
        run = runs["case_deferred"]
        assert run.wait() == "success", stack.printed()
        lines = [line.text for line in run.task("job").log()]
        assert [line for line in lines if line.startswith("line ")] == [f"line {n} of 12" for n in range(1, 13)]
        assert len(list(stack.folder.glob("volumes/logs/dag_id=case_deferred/*/*/*.trigger.*"))) == 1

    def test_a_sensor_shows_the_lines_of_another_tasks_job(self, runs: dict[str, Run], stack: Stack) -> None:
        run = runs["example_3_submit_and_watch"]
        assert run.wait() == "success", stack.printed()
        lines = [line.text for line in run.task("watch").log()]
        assert [line for line in lines if line.startswith("step ")] == [f"step {n} of 5" for n in range(1, 6)]

    def test_tasks_and_jobs_share_the_bucket(self, runs: dict[str, Run], stack: Stack) -> None:
        run = runs["example_5_pipeline"]
        assert run.wait() == "success", stack.printed()
        assert run.task("read_results").xcom() == sum(range(1, 101))

    def test_the_local_batch_says_that_docker_lets_it_isolate_nothing(self, stack: Stack) -> None:
        said = (stack.folder / "local-batch.out").read_text()
        assert "WARNING: containers run as plain processes" in said
        assert "unshare" in said

    def test_all_example_dags_are_there_and_none_is_broken(self, airflow: AirflowApi, runs: dict[str, Run]) -> None:
        assert airflow.import_errors() == []
        assert airflow.dag_ids() == {"case_deferred", *(path.stem for path in (TOP / "dags").glob("*.py"))}

    def test_every_health_check_holds(self, stack: Stack, runs: dict[str, Run]) -> None:
        checked = [name for name, service in stack.services.items() if "healthcheck" in service]
        assert len(checked) == 6
        assert [name for name in checked if not stack.healthy(name)] == [], stack.printed()

    def test_nobody_comes_in_without_the_password(self, airflow: AirflowApi) -> None:
        for method, login in (("POST", {"username": "admin", "password": "admin"}), ("GET", None)):
            with pytest.raises(ApiError) as refused:
                AirflowApi._send(method, f"{airflow.url}/auth/token", login, {})
            assert refused.value.status in (401, 403)

    def test_no_service_prints_a_secret(self, stack: Stack, runs: dict[str, Run]) -> None:
        printed = stack.printed(lines=100_000)
        assert "airflow" in printed
        assert [name for name, value in secrets_of(stack.folder / ".env").items() if value in printed] == []
