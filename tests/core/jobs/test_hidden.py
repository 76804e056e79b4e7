"""Which scripts start containers of their own."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_rules import IMAGE, TASK, findings, job, warned

from airflow_batchstream.core.jobs.hidden import containers_run


class TestScriptsThatStartContainers:
    @pytest.mark.parametrize(
        "script",
        [
            "docker run busybox true",
            "  docker run -it --rm busybox",
            "/usr/bin/docker run busybox",
            "sudo -E docker run busybox",
            "sudo -u batch docker run busybox",
            "DOCKER_BUILDKIT=1 docker run busybox",
            "timeout 60s docker run busybox",
            "cd /tmp && docker run busybox",
            "true;docker run busybox",
            "docker pull busybox || docker run busybox",
            "if docker run busybox; then echo; fi",
            "for x in 1 2; do docker run busybox $x; done",
            "out=$(docker run busybox)",
            'echo "got $(docker run busybox)"',
            "out=`docker run busybox`",
            "(docker run busybox)",
            "{ docker run busybox; }",
            "docker \\\n  run busybox",
            "docker --config /etc/d run busybox",
            "docker --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem -H tcp://b:2376 run busybox",
            "docker -c there run busybox",
            "docker compose --env-file .env --profile gpu run service",
            "sudo -n docker run busybox",
            "sudo -H -g docker docker run busybox",
            "time -p docker run busybox",
            "timeout --signal KILL -k 5 60 docker run busybox",
            "echo busybox | xargs -I {} docker run {}",
            "docker --log-level=debug container run busybox",
            "docker compose -f a.yaml run service",
            "bash -c 'docker run busybox'",
            'sh -ec "true; docker run busybox"',
            "echo a#b; docker run busybox",
            "echo ${#x} && docker run busybox",
            "echo it\\'s; docker run busybox",
            '"docker" run busybox',
        ],
    )
    def test_are_found(self, script: str) -> None:
        assert [what for _, what in containers_run(script)] == ["docker run"]

    @pytest.mark.parametrize("program", ["docker", "podman", "nerdctl"])
    def test_by_any_of_the_usual_programs_with_their_line(self, program: str) -> None:
        script = f"#!/bin/sh\nset -e\n{program} run busybox\necho\n{program} run busybox\n"
        assert containers_run(script) == [(3, f"{program} run"), (5, f"{program} run")]

    @pytest.mark.parametrize(
        ("command", "what"),
        [
            ("docker create --name a busybox", "docker create"),
            ("docker container start a", "docker start"),
            ("podman start a", "podman start"),
        ],
    )
    def test_in_two_steps_too(self, command: str, what: str) -> None:
        assert containers_run(command) == [(1, what)]

    @pytest.mark.parametrize(
        ("command", "what"),
        [
            ("ctr -n work run --rm docker.io/library/busybox:1 a true", "ctr run"),
            ("crictl run a.json b.json", "crictl run"),
            ("ctr images pull docker.io/library/busybox:1", None),
            ("crictl ps", None),
        ],
    )
    def test_by_containerds_own_programs(self, command: str, what: str | None) -> None:
        assert [found for _, found in containers_run(command)] == ([what] if what else [])

    @pytest.mark.parametrize("program", ["singularity", "apptainer"])
    def test_by_the_programs_of_clusters_which_execute_too(self, program: str) -> None:
        script = f"{program} exec docker://busybox true\n{program} run x.sif\n{program} pull docker://busybox\n"
        assert containers_run(script) == [(1, f"{program} exec"), (2, f"{program} run")]

    @pytest.mark.parametrize(
        ("script", "what"),
        [
            ("docker compose up -d", "docker compose up"),
            ("docker-compose -f a.yaml up", "docker compose up"),
            ("podman-compose up", "podman compose up"),
            ("docker-compose run service", "docker-compose run"),
            ("docker compose --env-file .env up", "docker compose up"),
            ("docker compose --profile x --project-directory /srv up", "docker compose up"),
            ("docker compose --ansi never --progress plain --parallel 4 up", "docker compose up"),
            ("docker-compose --env-file .env up", "docker compose up"),
            ("docker compose down", None),
            ("docker compose --env-file up down", None),
            ("docker up", None),
        ],
    )
    def test_by_a_compose_file_too(self, script: str, what: str | None) -> None:
        assert [found for _, found in containers_run(script)] == ([what] if what else [])


class TestScriptsThatDoNot:
    @pytest.mark.parametrize(
        "script",
        [
            "",
            "# docker run busybox",
            "true # docker run busybox",
            "true;# docker run busybox",
            "echo docker run busybox",
            "echo 'then docker run busybox'",
            'echo "first; docker run busybox"',
            "docker pull busybox",
            "docker exec it run",
            "docker ps",
            "docker network create net",
            "docker volume create data",
            "dockerd run",
            "./docker-run.sh run",
            "my-docker run busybox",
            "docker",
            "docker --config",
            "bash -c",
            "bash run.sh docker run",
        ],
    )
    def test_are_left_alone(self, script: str) -> None:
        assert containers_run(script) == []

    @given(st.text(alphabet="docker run;\n'\"\\#$()`&|-c={}sh ", max_size=200))
    def test_any_text_is_read_to_its_end(self, script: str) -> None:
        assert all(line >= 1 and what.endswith(" run") for line, what in containers_run(script))

    @pytest.mark.parametrize("piece", ["sudo ", '"$(a ', "$(", "bash -c ", "docker -x ", "docker run x;", '"', "\\"])
    def test_a_script_as_long_as_a_job_may_be_is_read_quickly(self, piece: str) -> None:
        began = time.process_time()
        containers_run(piece * (1_000_000 // len(piece)))
        assert time.process_time() - began < 10


class TestTheJobsFinding:
    def test_is_a_warning_that_names_the_line_and_shows_nothing_of_the_script(self) -> None:
        script = {"script": {"text": "set -e\ndocker run -e PASSWORD=secret busybox"}}
        found = warned(job({"container": {"imageUri": IMAGE}}, script))
        assert found.keys() == {f"{TASK}.runnables[1].script.text"}
        (words,) = found.values()
        assert "line 2" in words
        assert "neither streamed nor scanned" in words
        assert "secret" not in words

    def test_is_not_made_for_a_plain_job(self) -> None:
        assert findings(job({"script": {"text": "docker run busybox"}}), streaming=False) == []
