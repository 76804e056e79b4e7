"""Container runnables: the image's settings and the job's together, volumes, Image streaming, missing images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from odd_images import empty_tar, with_layer
from small_images import tar

from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.layout import Layout
from airflow_batchstream.emulator.images.push import push
from airflow_batchstream.emulator.testing import Local, running

IMAGE = "europe-docker.pkg.dev/test-project/repo/tool"
MORE = tar({"etc/more": b"more\n"})
ELSEWHERE = "registry.example.com/repo/tool:1"


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image's layout."""
    folder = tmp_path_factory.mktemp("tool")
    spec = ImageSpec(
        entrypoint=("sh", "-c"),
        cmd=("echo from the image in $PWD as $GREETING",),
        env={"GREETING": "hello"},
        workdir="/work",
    )
    build(spec, folder, IMAGE)
    return folder


@pytest.fixture(scope="module", params=["auto", "process"])
def local(request: pytest.FixtureRequest, tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local Batch that has the image, with the best runtime and with the plainest."""
    state = tmp_path_factory.mktemp("containers")
    with running(state, "--runtime", request.param, "--grace", "1") as started:
        odd = tmp_path_factory.mktemp("odd")
        for name, layout in {
            f"{IMAGE}:1": Layout(tool),
            ELSEWHERE: Layout(tool),
            f"{IMAGE}:empty": with_layer(tool, odd / "empty", empty_tar()),
            f"{IMAGE}:empty-zstd": with_layer(tool, odd / "zstd", empty_tar(), zstd.compress(empty_tar())),
            f"{IMAGE}:twice": with_layer(tool, odd / "twice"),
            f"{IMAGE}:more": with_layer(tool, odd / "more", MORE, zstd.compress(MORE)),
        }.items():
            push(layout, parse(name), started.address, lambda line: None)
        yield started


@pytest.fixture
def run(local: Local, connect: Callable[..., Any]) -> Callable[..., Any]:
    """Runs containers, one after the other, and gives the job."""
    client = connect(local)

    def make(*containers: dict[str, Any], **more: Any) -> Any:
        runnables = [{"container": {"image_uri": f"{IMAGE}:1", **c}} for c in containers]
        return client.run(
            {
                "task_groups": [{"task_spec": {"runnables": runnables, **more}}],
                "logs_policy": {"destination": "CLOUD_LOGGING"},
            }
        )

    return make


@pytest.fixture
def lines(local: Local, logs_of: Callable[[Local], Any]) -> Callable[..., list[str]]:
    return logs_of(local).lines


class TestTheCommand:
    def test_is_the_image_s_where_the_job_says_nothing(self, run: Any, lines: Any, local: Local) -> None:
        job = run({})
        assert job.status.state.name == "SUCCEEDED"
        (line,) = lines(job)
        assert line.startswith("from the image in /")
        assert line.endswith("as hello")

    def test_commands_replace_the_image_s_cmd_and_keep_its_entrypoint(self, run: Any, lines: Any) -> None:
        assert lines(run({"commands": ["echo own $GREETING; exit 0", "ignored"]})) == ["own hello"]

    def test_an_entrypoint_replaces_both(self, run: Any, lines: Any) -> None:
        assert lines(run({"entrypoint": "echo", "commands": ["a", "b c"]})) == ["a b c"]
        assert lines(run({"entrypoint": "echo"})) == [""]

    def test_its_exit_code_is_the_task_s(self, run: Any) -> None:
        job = run({"commands": ["exit 3"]})
        assert job.status.status_events[-1].description.endswith('with exit code 3."')

    def test_that_is_not_there_is_127(self, run: Any) -> None:
        job = run({"entrypoint": "/no/such/program"})
        assert job.status.status_events[-1].description.endswith('with exit code 127."')


class TestItsEnvironment:
    def test_is_the_image_s_then_batch_s_then_the_job_s(self, run: Any, lines: Any) -> None:
        job = run(
            {"commands": ["echo $GREETING $BATCH_TASK_INDEX $EXTRA"]},
            environment={"variables": {"GREETING": "job's", "EXTRA": "x"}},
        )
        assert lines(job) == ["job's 0 x"]

    def test_has_nothing_of_the_server_s(self, run: Any, lines: Any) -> None:
        (names,) = lines(run({"commands": ["env | cut -d= -f1 | sort | tr '\\n' ' '"]}))
        assert not any(n.startswith(("PYTEST", "AIRFLOW", "VIRTUAL")) for n in names.split())


class TestVolumes:
    def test_of_the_container_are_folders_of_this_machine(self, run: Any, lines: Any, tmp_path: Path) -> None:
        (tmp_path / "in").write_text("data")
        job = run(
            {"commands": ["cat /mnt/data/in; echo; echo out > /mnt/data/out"], "volumes": [f"{tmp_path}:/mnt/data"]}
        )
        assert lines(job) == ["data"]
        assert (tmp_path / "out").read_text() == "out\n"

    def test_can_be_read_only(self, run: Any, local: Local, tmp_path: Path) -> None:
        if "without isolation" in local.log.read_text() or "process" in str(local.process.args):
            pytest.skip("not applicable: the process runtime cannot enforce it, and says so")
        job = run({"commands": ["touch /mnt/data/x"], "volumes": [f"{tmp_path}:/mnt/data:ro"]})
        assert job.status.state.name == "FAILED"
        assert not (tmp_path / "x").exists()

    def test_of_the_task_are_in_every_container_of_it(self, run: Any, lines: Any, local: Local) -> None:
        job = run(
            {"commands": ["echo kept > /mnt/bucket/x; echo gone > /mnt/disk/y"]},
            {"commands": ["cat /mnt/bucket/x /mnt/disk/y"]},
            volumes=[
                {"gcs": {"remote_path": "my-bucket/below"}, "mount_path": "/mnt/bucket"},
                {"device_name": "scratch", "mount_path": "/mnt/disk"},
            ],
        )
        assert lines(job) == ["kept", "gone"]
        assert (local.state_dir / "buckets/my-bucket/below/x").read_text() == "kept\n"

    def test_a_source_that_is_missing_is_an_empty_folder_and_not_made_on_this_machine(
        self, run: Any, lines: Any
    ) -> None:
        job = run({"commands": ["ls -A /data | wc -l"], "volumes": ["/no/such/folder:/data"]})
        assert lines(job) == ["0"]
        assert not Path("/no/such").exists()


class TestImageStreaming:
    def test_says_so_in_the_agent_s_log_and_ignores_what_batch_ignores(
        self, run: Any, local: Local, logs_of: Any
    ) -> None:
        job = run({"commands": ["true"], "enable_image_streaming": True, "options": "--privileged", "username": "u"})
        assert job.status.state.name == "SUCCEEDED"
        said = logs_of(local).lines(job, "batch_agent_logs")
        assert any(line.startswith("[local Batch] Streaming image") for line in said)
        assert any("ignored with Image streaming: options, username" in line for line in said)

    def test_a_plain_container_is_pulled_in_docker_s_words(self, run: Any, local: Local, logs_of: Any) -> None:
        said = logs_of(local).lines(run({"commands": ["true"]}), "batch_agent_logs")
        assert f"Unable to find image '{IMAGE}:1' locally" in said
        assert "1: Pulling from test-project/repo/tool" in said
        assert any(line.endswith(": Pulling fs layer") for line in said)
        assert any("sha256:" in line for line in said)

    @pytest.mark.parametrize(
        ("image", "why"),
        [
            (f"{IMAGE}:empty", "is empty"),
            (f"{IMAGE}:empty-zstd", "is empty"),
            (f"{IMAGE}:twice", "two of its layers are the same"),
            (ELSEWHERE, "registry.example.com is not Artifact Registry"),
        ],
    )
    def test_of_an_image_that_breaks_a_rule_pulls_it_all_the_same(
        self, run: Any, local: Local, logs_of: Any, image: str, why: str
    ) -> None:
        job = run({"image_uri": image, "commands": ["true"], "enable_image_streaming": True})
        assert job.status.state.name == "SUCCEEDED"
        said = logs_of(local).lines(job, "batch_agent_logs")
        assert any(line.startswith("[local Batch] Pulling image") and why in line for line in said)
        assert f"Unable to find image '{image}' locally" in said

    def test_of_an_image_with_a_small_layer_pulls_nothing(self, run: Any, local: Local, logs_of: Any) -> None:
        job = run({"image_uri": f"{IMAGE}:more", "commands": ["echo more"], "enable_image_streaming": True})
        assert logs_of(local).lines(job) == ["more"]
        said = logs_of(local).lines(job, "batch_agent_logs")
        assert not [line for line in said if "Pulling" in line or "Unable to find" in line]

    def test_of_an_image_that_is_not_there_asks_no_docker(self, run: Any, local: Local, logs_of: Any) -> None:
        job = run({"image_uri": f"{IMAGE}:none", "enable_image_streaming": True})
        assert job.status.state.name == "FAILED"
        said = logs_of(local).lines(job, "batch_agent_logs")
        assert any("not found" in line for line in said)
        assert not [line for line in said if "docker: " in line or "Unable to find" in line]

    def test_leaves_the_network_on_where_the_job_blocks_it(self, run: Any, lines: Any, local: Local) -> None:
        if "plain processes" in local.log.read_text():
            pytest.skip("not applicable: the process runtime has one network, this machine's")
        count = {"commands": ["grep -c : /proc/net/dev"], "block_external_network": True}  # loopback alone is 1
        blocked, streamed = lines(run(count)), lines(run({**count, "enable_image_streaming": True}))
        here = sum(":" in line for line in Path("/proc/net/dev").read_text().splitlines())
        assert (blocked, streamed) == (["1"], [str(here)])


class TestAnImageThatIsNotThere:
    @pytest.mark.parametrize("name", [f"{IMAGE}:none", f"{IMAGE}@sha256:{'0' * 64}", "us-docker.pkg.dev/p/r/nobody"])
    def test_fails_the_task_and_the_agent_says_why(self, run: Any, local: Local, logs_of: Any, name: str) -> None:
        job = run({"image_uri": name})
        assert job.status.status_events[-1].description.endswith('with exit code 125."')
        said = logs_of(local).lines(job, "batch_agent_logs")
        assert any(f"Unable to find image '{name}' locally" in line for line in said)
        assert any("manifest unknown" in line for line in said)
        assert logs_of(local).lines(job) == []

    def test_so_does_a_name_that_is_none(self, run: Any, local: Local, logs_of: Any) -> None:
        job = run({"image_uri": "UPPER/case"})
        assert job.status.state.name == "FAILED"
        assert any("invalid reference format" in line for line in logs_of(local).lines(job, "batch_agent_logs"))

    def test_does_not_matter_where_the_exit_status_is_ignored(self, local: Local, connect: Any) -> None:
        runnables = [
            {"container": {"image_uri": f"{IMAGE}:none"}, "ignore_exit_status": True},
            {"script": {"text": "true"}},
        ]
        job = connect(local).run({"task_groups": [{"task_spec": {"runnables": runnables}}]})
        assert job.status.state.name == "SUCCEEDED"


class TestManyTasksOfOneImage:
    def test_share_it(self, local: Local, connect: Any, logs_of: Any) -> None:
        container = {"image_uri": f"{IMAGE}:1", "commands": ["echo $BATCH_TASK_INDEX > own; cat own"]}
        job = connect(local).run(
            {
                "task_groups": [{"task_count": 8, "task_spec": {"runnables": [{"container": container}]}}],
                "logs_policy": {"destination": "CLOUD_LOGGING"},
            }
        )
        assert job.status.state.name == "SUCCEEDED"
        assert sorted(logs_of(local).lines(job)) == [str(i) for i in range(8)]
