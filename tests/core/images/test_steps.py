from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images.steps import LONGEST, shown


class TestABuildStepAsItIsShown:
    @pytest.mark.parametrize(
        ("step", "text"),
        [
            ("", ""),
            ("/bin/sh -c #(nop) WORKDIR /app", "WORKDIR /app"),
            ("/bin/sh -c #(nop)  ENV PATH=/usr/bin", "ENV PATH=/usr/bin"),
            ("COPY . /app # buildkit", "COPY . /app"),
            ("/bin/sh -c apt-get update\t&&\n  true", "apt-get update && true"),
            ("RUN \x1b[31mred", "RUN [31mred"),
        ],
    )
    def test_is_one_line_without_its_wrapping(self, step: str, text: str) -> None:
        assert shown(step) == text

    def test_is_cut(self) -> None:
        assert len(shown("RUN " + "x" * 10_000)) == LONGEST
        assert shown("RUN " + "x" * 10_000).endswith("...")


class TestSecretsAreMasked:
    @pytest.mark.parametrize(
        "step",
        [
            "|1 PIP=hunter2 /bin/sh -c pip install x",
            "RUN |2 A=1 B=hunter2 /bin/sh -c pip install x # buildkit",
            "|2 A=with spaces hunter2 B=hunter2 more /bin/sh -c make",
            "|1 A=/bin/sh -c hunter2 /bin/sh -c make",
            "|1 A=hunter2",
            "|1 A=hunter2 /bin/bash -eo pipefail -c make",
            "ARG NAME=hunter2",
            "/bin/sh -c #(nop)  ARG NAME=hunter2 and more",
            "ENV API_KEY=hunter2",
            "ENV DB_PASSWORD='hunter2 hunter2'",
            'RUN export github_token="hunter2 and hunter2"',
            "RUN login --password hunter2",
            "RUN login --token=hunter2",
            "RUN curl -H 'Authorization: Bearer hunter2' https://h",
            "RUN git clone https://user:hunter2@host/repo",
            "RUN echo secret: hunter2",
        ],
    )
    def test_whatever_form_they_have(self, step: str) -> None:
        assert "hunter2" not in shown(step)
        assert "***" in shown(step)

    def test_names_of_build_arguments_and_the_command_stay(self) -> None:
        assert shown("RUN |2 A=1 B=2 /bin/sh -c make all # buildkit") == "RUN |2 A=*** B=*** /bin/sh -c make all"

    @given(st.text(max_size=300))
    def test_any_text_gives_one_printable_line(self, step: str) -> None:
        text = shown(step)
        assert len(text) <= LONGEST
        assert text.isprintable()
