"""``batchstream scan`` as a process: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_images as make
from writable_registry import WritableRegistry, refuse

NAME = "us-docker.pkg.dev/acme/batch/train"
A = make.tar({"a": b"1"})
PLACE = ("--region", "us-central1")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path_factory.mktemp("registry")) as one:
        one.put(NAME, make.image([A]), "whole")
        one.put(NAME, make.image([A, make.tar({"b": b"2"}), A]), "twice")
        yield one


def run(at: str, *words: str, columns: int = 100, **more: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"BATCH_EMULATOR_HOST": at, "COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"} | more
    command = [Path(sys.executable).parent / "batchstream", "scan", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


class TestTheCommand:
    def test_ends_with_0_where_an_image_may_be_streamed(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole", *PLACE)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("may be streamed: every rule that can be checked beforehand holds.\n")
        assert registry.tags(NAME)["whole"] in done.stdout

    def test_is_there_as_a_module_too(self, registry: WritableRegistry) -> None:
        env = os.environ | {"BATCH_EMULATOR_HOST": registry.address}
        command = [sys.executable, "-m", "airflow_batchstream", "scan", f"{NAME}:twice", *PLACE]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert "does not stream: 1 rule is broken." in done.stdout

    def test_ends_with_1_and_shows_each_broken_rule_on_100_columns(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:twice", "--region", "europe-west1")
        assert done.returncode == 1, done.stderr
        assert "does not stream: 1 rule is broken." in done.stdout  # the name alone tells: the registry is not asked
        done = run(registry.address, f"{NAME}:twice", *PLACE, "--machine-type", "c4a-standard-8")
        assert done.returncode == 1
        assert "does not stream: 2 rules are broken." in done.stdout
        assert "BROKEN   image-platform\n" in done.stdout
        assert "BROKEN   image-no-duplicate-layers\n" in done.stdout
        assert "-> Leave it out with batchstream repair (no layer is moved), " in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100
        assert "\x1b" not in done.stdout

    def test_shows_all_images_each_once_and_the_worst_decides(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole", f"{NAME}:twice", f"{NAME}:whole", *PLACE)
        assert done.returncode == 1
        assert done.stdout.count("Image     ") == 2

    def test_ends_with_a_summary_where_there_are_several(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole", f"{NAME}:twice", *PLACE)
        assert done.stdout.split("\n\n")[-2:] == [
            "Summary   2 images: 1 does not stream, 1 may be streamed",
            f"  BROKEN   {NAME}:twice  image-no-duplicate-layers\n  holds    {NAME}:whole\n",
        ]
        assert "Summary" not in run(registry.address, f"{NAME}:whole", *PLACE).stdout

    def test_prints_json(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:twice", f"{NAME}:whole", *PLACE, "--json")
        twice, whole = json.loads(done.stdout)["images"]
        assert done.returncode == 1
        assert (twice["verdict"], whole["verdict"]) == ("broken", "holds")
        assert (twice["region"], whole["region"]) == ("us-central1", "us-central1")
        assert whole["pinned"] == f"{NAME}@{registry.tags(NAME)['whole']}"

    def test_looks_into_as_many_small_layers_as_it_may(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole", *PLACE)
        assert "looked into" in done.stdout
        done = run(registry.address, f"{NAME}:whole", *PLACE, "--max-small-blobs", "0")
        assert "no layer was downloaded" in done.stdout

    def test_ends_with_1_where_there_is_no_such_image(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:none", *PLACE)
        assert done.returncode == 1
        assert "BROKEN   image-exists\n" in done.stdout

    @pytest.mark.parametrize("words", [(), (f"{NAME}:1", "--no-such-option"), ("A B",)])
    def test_ends_with_2_where_it_is_used_wrongly(self, registry: WritableRegistry, words: tuple[str, ...]) -> None:
        assert run(registry.address, *words).returncode == 2

    @pytest.mark.parametrize("region", ["us", "us-central1-a", "regions/us-central1", "US-CENTRAL1", "us-central1 "])
    def test_ends_with_2_where_the_region_is_none(self, tmp_path: Path, region: str) -> None:
        (tmp_path / "job.json").write_text("{}")
        for words in ([f"{NAME}:1"], ["--job", str(tmp_path / "job.json")]):
            done = run("127.0.0.1:1", *words, "--region", region)
            said = " ".join(done.stderr.replace("│", " ").split())
            assert (done.returncode, done.stdout) == (2, "")
            assert "'--region'" in said
            assert "us-central1." in said

    def test_takes_a_region_that_is_not_known_here(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole", "--region", "us-moon1")
        assert done.returncode == 3
        assert "not told image-location" in done.stdout

    @pytest.mark.parametrize(
        "at", ["localhost", "bad host", ":99999", "localhost:99999", "localhost:0", "https://x:1", "x:٣"]
    )
    def test_ends_with_2_where_the_local_batch_has_no_address(self, at: str) -> None:
        done = run(at, f"{NAME}:1", *PLACE, "--machine-type", "e2-small")
        said = " ".join(done.stderr.replace("│", " ").split())
        assert done.returncode == 2
        assert "BATCH_EMULATOR_HOST" in said
        assert f"{at!r} is no address of a local Batch. Write HOST:PORT" in said


class TestAnAnswerThatCannotBePrinted:
    """It must not end with 1, which says that an image does not stream."""

    def run(self, at: str, stdout: int) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "batchstream", "scan", f"{NAME}:whole", *PLACE]
        env = os.environ | {"BATCH_EMULATOR_HOST": at}
        return subprocess.run(command, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)

    def test_ends_as_by_a_signal_where_nobody_reads_on(self, registry: WritableRegistry) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        done = self.run(registry.address, writing)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_ends_with_3_where_the_disk_is_full(self, registry: WritableRegistry) -> None:
        with Path("/dev/full").open("w") as full:
            done = self.run(registry.address, full.fileno())
        assert done.returncode == 3
        assert done.stderr == "Error: what was found could not be printed: [Errno 28] No space left on device.\n"


class TestAJob:
    def job(self, folder: Path, *tags: str) -> str:
        runnables = [{"container": {"imageUri": f"{NAME}:{tag}"}} for tag in tags]
        path = folder / "job.json"
        path.write_text(json.dumps({"taskGroups": [{"taskSpec": {"runnables": runnables}}]}))
        return str(path)

    @pytest.mark.parametrize(("tags", "code"), [(("whole",), 0), (("whole", "twice"), 1)])
    def test_is_scanned_whole(
        self, registry: WritableRegistry, tmp_path: Path, tags: tuple[str, ...], code: int
    ) -> None:
        done = run(registry.address, "--job", self.job(tmp_path, *tags), *PLACE)
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith("Job       job.json\nRegion    us-central1\n")
        assert done.stdout.count("Image     ") == len(tags)
        assert ("Summary   2 images: 1 does not stream" in done.stdout) is (len(tags) > 1)

    def test_as_json_too(self, registry: WritableRegistry, tmp_path: Path) -> None:
        done = run(registry.address, "--job", self.job(tmp_path, "twice"), *PLACE, "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["images"][0]["verdict"] == "broken"

    def test_that_is_none_is_wrong_usage(self, registry: WritableRegistry, tmp_path: Path) -> None:
        (tmp_path / "broken.json").write_text('{"taskGroups": ')
        (tmp_path / "latin.json").write_bytes(b"\xff\xfe{")
        for name in ("broken.json", "latin.json", "none.json"):
            done = run(registry.address, "--job", str(tmp_path / name))
            assert (done.returncode, done.stdout) == (2, "")
        assert run(registry.address, f"{NAME}:whole", "--job", self.job(tmp_path, "whole")).returncode == 2


class TestWhatCouldNotBeTold:
    def test_without_a_region(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole")
        assert done.returncode == 3
        assert "not told image-location\n" in done.stdout

    def test_where_no_local_batch_answers_names_it_at_once(self) -> None:
        done = run("http://127.0.0.1:1/", f"{NAME}:1", *PLACE)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("Error: No local Batch answers at 127.0.0.1:1 (")
        assert "leave out --emulator and BATCH_EMULATOR_HOST to use Google Cloud" in done.stderr

    def test_without_credentials_says_how_to_sign_in_and_nothing_of_a_connection(self, tmp_path: Path) -> None:
        alone = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
        done = run("", f"{NAME}:1", *PLACE, GOOGLE_APPLICATION_CREDENTIALS="", **alone)
        said = " ".join(done.stdout.split())
        assert done.returncode == 3, done.stderr
        assert "this machine has no Google credentials (DefaultCredentialsError: Your default credentials" in said
        assert "-> Sign in with gcloud auth application-default login" in said
        assert said.count("Sign in") == 1
        assert "connection" not in said

    @pytest.mark.parametrize("status", [401, 403])
    def test_where_the_registry_refuses(self, registry: WritableRegistry, status: int) -> None:
        registry.faults.append(refuse("GET", "/manifests/closed", status))
        done = run(registry.address, f"{NAME}:closed", f"{NAME}:whole", *PLACE)
        registry.faults.clear()
        assert done.returncode == 3
        assert "not told image-readable\n" in done.stdout
        assert "may be streamed" in done.stdout  # one closed image does not take the others along


class TestHelp:
    def test_has_examples_that_can_be_copied_from_80_columns(self) -> None:
        lines = [line.strip() for line in run("", "--help", columns=80).stdout.splitlines()]
        assert "batchstream scan --region us-central1 us-docker.pkg.dev/acme/batch/train:1.4" in lines
        assert "batchstream scan --job job.json" in lines
        assert max(map(len, lines)) <= 80

    def test_explains_itself_with_an_example(self) -> None:
        done = run("", "--help")
        assert done.returncode == 0
        text = " ".join(done.stdout.split())
        assert "batchstream scan --region us-central1 us-docker.pkg.dev/acme/batch/train:1.4 batchstream scan" in text
        assert "application-default login" in text
        assert "BATCH_EMULATOR_HOST is set" in text
        assert "Exit codes: 0 all may be streamed" in text
        assert max(map(len, done.stdout.splitlines())) <= 100

    def test_loads_neither_airflow_nor_google_s_clients(self) -> None:
        code = (
            "import sys; before = set(sys.modules); import airflow_batchstream.cli.scan, "
            "airflow_batchstream.cli.credentials, airflow_batchstream.services.scan_job, "
            "airflow_batchstream.clients.registry; "
            "print([m for m in set(sys.modules) - before if m.split('.')[0] in ('airflow', 'grpc') "
            "or m.startswith('google.')])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
