from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images.steps import LONGEST, MORE, shown


class TestABuildStepAsItIsShown:
    @pytest.mark.parametrize(
        ("step", "text"),
        [
            ("", ""),
            ("/bin/sh -c #(nop) WORKDIR /app", "WORKDIR /app"),
            ("WORKDIR /app", "WORKDIR /app"),
            ("/bin/sh -c #(nop)  ENV PATH=/usr/bin", "ENV PATH=***"),
            ("ARG VERSION", "ARG VERSION"),
            ("COPY . /app # buildkit", "COPY . /app"),
            ("COPY --from=build --chown=1000:1000 /out/app /app", "COPY --from=build --chown=1000:1000 /out/app /app"),
            ("/bin/sh -c #(nop) COPY file:0a1b in / ", "COPY file:0a1b in /"),
            ("ADD https://h/x /x", "ADD …"),
            ("/bin/sh -c apt-get update\t&&\n  true", "apt-get update && true"),
            ("RUN /bin/sh -c true # buildkit", "RUN true"),
            ("RUN /bin/bash -eo pipefail -c make all", "RUN make all"),
            ("RUN pip install --no-cache-dir -r /r.txt && rm -rf /tmp/x", "RUN pip install … && rm …"),
            ("RUN |2 A=1 B=2 /bin/sh -c make all # buildkit", "RUN make all"),
            ("RUN ./configure --prefix=/usr; make", "RUN ./configure … ; make"),
            ("jib-maven-plugin:3.4.1", "jib-maven-plugin:3.4.1"),
            ('CMD ["/app"]', "CMD …"),
            ("RUN \x1b[31mred", "RUN …"),
        ],
    )
    def test_tells_which_line_of_the_dockerfile_it_is(self, step: str, text: str) -> None:
        assert shown(step) == text

    def test_is_cut(self) -> None:
        assert len(shown("COPY " + "x/y " * 1_000)) <= LONGEST
        assert shown("COPY " + "x/y " * 1_000).endswith(MORE)

    @pytest.mark.parametrize("options", ["-e ", "-eo ", "-o x ", "- ", "-eo pipefail "])
    def test_takes_no_time_however_many_options_a_shell_has(self, options: str) -> None:
        began = time.process_time()
        shown("RUN /bin/sh " + options * 140 + "!")  # minutes, were it exponential
        assert time.process_time() - began < 5

    @given(st.text(max_size=300))
    def test_is_one_printable_line_whatever_it_was(self, step: str) -> None:
        text = shown(step)
        assert len(text) <= LONGEST
        assert text.isprintable()


FORMS = (
    "|1 PIP={} /bin/sh -c pip install x",
    "RUN |2 A=1 B={} /bin/sh -c pip install x # buildkit",
    "|2 A=with spaces {0} B={0} more /bin/sh -c make",
    "|1 A=/bin/sh -c {} /bin/sh -c make",
    "|1 A=/bin/sh -c {}",
    "|1 A={}",
    "|1 A={} /bin/bash -eo pipefail -c make",
    "ARG NAME={}",
    "/bin/sh -c #(nop)  ARG NAME={} and more",
    "ENV API_KEY={}",
    "ENV DB_PASS={} OTHER='{}'",
    "ENV TOKEN {}",
    "LABEL webhook={}",
    'RUN export GH_PAT="{} and {}"',
    "RUN SSH_KEY={} make",
    "RUN login --password {}",
    "RUN docker login -u me -p {} && docker login -p{}",
    "RUN tool --api-key={} --api-key {}",
    "RUN curl -u me:{} -H 'X-API-Key: {}' -H \"Authorization: token {}\" https://h/x?sig={}",
    "RUN git clone https://user:{}@host/repo",
    "ADD https://user:{}@host/file?X-Amz-Signature={} /file",
    'RUN echo \'{{"token": "{}"}}\' > /x; echo {} | base64',
    'RUN echo "a; {} && {}" ',
    "RUN <<EOF\necho {}\n{}\nEOF",
    'CMD ["prog", "--token", "{}"]',
    "ENTRYPOINT prog --token {}",
    "HEALTHCHECK CMD curl -H token:{}",
    "cmd /S /C set X={}",
)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(lambda text: f"hunter2{text}")


class TestWhatMayBeASecret:
    @pytest.mark.parametrize("form", FORMS)
    @given(
        secret=SECRETS | st.sampled_from(["hunter2", "hunter2 /bin/sh -c x", "x hunter2", "a;hunter2", "p@/hunter2"])
    )
    def test_is_not_shown_whatever_it_is_and_wherever_it_stands(self, form: str, secret: str) -> None:
        assert "hunter2" not in shown(form.format(*[secret] * 4))
