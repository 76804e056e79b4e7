from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.jobs.changes import changes
from airflow_batchstream.core.jobs.secrecy import MASK, looks_secret, masked, masked_text, secrets


def around(**task: Any) -> dict[str, Any]:
    return {"taskGroups": [{"taskSpec": task}]}


class TestKeysThatLookSecret:
    @pytest.mark.parametrize(
        "key",
        [
            *("DB_PASS", "DB_PASSWORD", "password", "PGPASSWORD", "DB_PWD", "apiToken", "--client-secret", "X_API_KEY"),
            *("apikey", "SECRET", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SENTRY_DSN", "BASIC_AUTH", "private_key"),
        ],
    )
    def test_they_are_told(self, key: str) -> None:
        assert looks_secret(key)

    @pytest.mark.parametrize(
        "key",
        [
            *("MAX_TOKENS", "TOKENIZERS_PARALLELISM", "AUTHOR", "COMPASS", "PASSES", "KEYBOARD", "monkey", "BUCKET"),
            *("machineType", "AUTHORITY", "PWD", "SSH_AUTH_SOCK", "TOKEN_URI", "PASSWORD_FILE", "secretName"),
        ],
    )
    def test_ordinary_ones_are_not(self, key: str) -> None:
        assert not looks_secret(key)


class TestTexts:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("psql postgres://user:pa:ss@host:5432/db", "psql postgres://user:***@host:5432/db"),
            ("curl https://:tok@host/", "curl https://:***@host/"),
            ("run --password=abc --steps=3", "run --password=*** --steps=3"),
            ("run --api-token 'abc' -v", "run --api-token '***' -v"),
            ("export DB_PASS=abc; export A=b", "export DB_PASS=*** export A=b"),
            ('DB_PASSWORD="a b"', 'DB_PASSWORD="*** b"'),
            ("curl -H 'Authorization: Bearer abcdefgh.ijk'", "curl -H 'Authorization: Bearer ***'"),
            ("curl -H Authorization:abc", "curl -H Authorization:***"),
            ("basic authentication is fine", "basic authentication is fine"),
            ("https://host/path?x=1", "https://host/path?x=1"),
            ("us-docker.pkg.dev/p/token/image:latest", "us-docker.pkg.dev/p/token/image:latest"),
            ("amqp://u:p@ss@host/", "amqp://u:***@host/"),
            ("http://localhost:8080/path@x", "http://localhost:8080/path@x"),
            ("git@github.com:a/b", "git@github.com:a/b"),
            ("--password --verbose", "--password --verbose"),
        ],
    )
    def test_only_what_is_plainly_a_secret_is_replaced(self, text: str, shown: str) -> None:
        assert masked_text(text) == shown

    @pytest.mark.parametrize(
        "part", ["a", "--pass", "x://a:", "a=b ", "pass_", "-a ", "authorization: ", "a:@", "password="]
    )
    def test_a_text_of_a_megabyte_is_looked_through_in_one_go(self, part: str) -> None:
        """A pattern that starts over at every character would take hours."""
        began = time.process_time()
        masked_text(part * (1_000_000 // len(part)))
        assert time.process_time() - began < 10

    @given(st.text(max_size=60))
    def test_masking_twice_changes_nothing(self, text: str) -> None:
        assert masked_text(masked_text(text)) == masked_text(text)


class TestAJobThatIsShown:
    job = around(
        environment={
            "variables": {"PLAIN": "geheim-1", "EMPTY": ""},
            "secretVariables": {"S": "projects/p/secrets/geheim-2/versions/1"},
            "encryptedVariables": {"keyName": "k", "cipherText": "geheim-3"},
        },
        environments={"OLD": "geheim-4"},
        runnables=[
            {
                "container": {
                    "imageUri": "us-docker.pkg.dev/p/r/i:1",
                    "commands": [
                        "--password",
                        "geheim-5",
                        "--token=geheim-6",
                        "postgres://u:geheim-7@h/d",
                        "--steps",
                        "3",
                    ],
                    "options": "-e API_TOKEN=geheim-8",
                    "username": "u",
                    "password": "geheim-9",
                },
                "environment": {"variables": {"A": "geheim-10"}},
            },
            {"script": {"text": "export DB_PASS=geheim-11\necho ok"}},
        ],
    ) | {"labels": {"team": "data"}}

    def test_no_secret_is_in_it(self) -> None:
        assert "geheim" not in json.dumps(masked(self.job))

    def test_the_rest_is_as_it_was(self) -> None:
        shown = masked(self.job)
        task = shown["taskGroups"][0]["taskSpec"]
        assert shown["labels"] == {"team": "data"}
        assert task["environment"]["variables"] == {"PLAIN": MASK, "EMPTY": MASK}
        container = task["runnables"][0]["container"]
        assert container["imageUri"] == "us-docker.pkg.dev/p/r/i:1"
        assert container["commands"] == [
            "--password",
            MASK,
            f"--token={MASK}",
            f"postgres://u:{MASK}@h/d",
            "--steps",
            "3",
        ]
        assert task["runnables"][1]["script"]["text"] == f"export DB_PASS={MASK}\necho ok"

    def test_a_job_as_its_author_wrote_it_is_masked_too(self) -> None:
        written = {"task_spec": {"environment": {"secret_variables": {"A": "geheim"}, "encrypted_variables": "geheim"}}}
        assert "geheim" not in json.dumps(masked(written))

    def test_the_job_itself_is_left_alone(self) -> None:
        before = json.dumps(self.job)
        masked(self.job)["taskGroups"][0]["taskSpec"]["environment"]["variables"]["PLAIN"] = "x"
        assert json.dumps(self.job) == before


class TestWhatAirflowsMaskerIsTold:
    def test_secrets_and_nothing_but_secrets(self) -> None:
        """``geheim-1`` and the other ordinary variables are not among them: they may be ordinary words."""
        found = set(secrets(TestAJobThatIsShown.job))
        assert found == {
            "projects/p/secrets/geheim-2/versions/1",
            *(f"geheim-{number}" for number in (3, 5, 6, 7, 8, 9, 11)),
        }

    def test_variables_of_sensitive_names_are_among_them(self) -> None:
        variables = {"DB_PASSWORD": "geheim", "URL": "redis://u:hidden@h", "MAX_TOKENS": "32768", "COLOUR": "green"}
        assert secrets(around(environment={"variables": variables})) == ["geheim", "hidden"]

    @pytest.mark.parametrize("value", ["false", "12345", "abc", "", "$DB_PASS", "/run/secrets/token"])
    def test_what_stands_in_every_log_is_not(self, value: str) -> None:
        assert secrets(around(environment={"variables": {"TOKEN": value}})) == []

    def test_the_longest_comes_first_and_each_once(self) -> None:
        variables = {"A_TOKEN": "geheim", "B_TOKEN": "geheimnis", "C_TOKEN": "geheim"}
        assert secrets(around(environment={"variables": variables})) == ["geheimnis", "geheim"]


class TestWhatBatchChanged:
    def test_each_change_is_one_line(self) -> None:
        sent = {
            "taskGroups": [{"taskSpec": {"maxRunDuration": "60s", "runnables": [{"container": {"commands": ["a"]}}]}}]
        }
        got = {
            "taskGroups": [
                {
                    "taskCount": "1",
                    "taskSpec": {"maxRunDuration": "120s", "runnables": [{"container": {"commands": ["a", "b"]}}]},
                }
            ],
            "allocationPolicy": {"location": {"allowedLocations": ["regions/us-central1"]}},
        }
        assert changes(sent, got) == [
            'taskGroups[0].taskSpec.maxRunDuration: "60s" -> "120s"',
            'taskGroups[0].taskSpec.runnables[0].container.commands: ["a"] -> ["a", "b"]',
            'taskGroups[0].taskCount: not set -> "1"',
            'allocationPolicy.location.allowedLocations: not set -> ["regions/us-central1"]',
        ]

    def test_what_means_the_same_is_no_change(self) -> None:
        sent = around(maxRunDuration="60s", runnables=[{"container": {"imageUri": "a", "enableImageStreaming": False}}])
        got = around(maxRunDuration="60.000s", runnables=[{"container": {"imageUri": "a"}}]) | {
            "priority": "0",
            "uid": "u",
        }
        assert changes(sent, got) == []

    def test_what_batch_dropped_is_said(self) -> None:
        sent = around(runnables=[{"container": {"imageUri": "a", "enableImageStreaming": True}}])
        got = around(runnables=[{"container": {"imageUri": "a"}}])
        assert changes(sent, got) == [
            "taskGroups[0].taskSpec.runnables[0].container.enableImageStreaming: true -> removed"
        ]

    def test_values_of_environments_are_not_shown(self) -> None:
        sent = around(environment={"variables": {"A": "geheim-1", "B": "geheim-2"}})
        got = around(environment={"variables": {"A": "geheim-3", "C": "geheim-4"}})
        assert changes(sent, got) == [
            "taskGroups[0].taskSpec.environment.variables.A: *** -> ***",
            "taskGroups[0].taskSpec.environment.variables.B: *** -> removed",
            "taskGroups[0].taskSpec.environment.variables.C: not set -> ***",
        ]

    def test_a_job_of_thousands_of_changes_stays_readable(self) -> None:
        got = {"taskGroups": [{"taskEnvironments": [{"variables": {"A": "x"}}] * 1000}]}
        lines = changes({}, got)
        assert len(lines) == 51
        assert lines[-1] == "... and 950 more"
