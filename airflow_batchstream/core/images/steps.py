"""A layer's build step as it may be shown: one short line in which nothing is that may be a secret.

Build arguments and commands are not encrypted in an image: whoever may pull it can read them in its history. That is no
reason to print them into a task log as well. No list of what a secret looks like is ever complete, so it is the other
way round: what is known to be harmless is shown, enough to find the line of the Dockerfile, and the rest is ``…``.
"""

from __future__ import annotations

import re
from itertools import takewhile

from airflow_batchstream.core.words import printable

MASK = "***"
MORE = "…"
LONGEST = 60
LONGEST_READ = 2000
"""Characters of a step that are looked at: some carry a whole script, and only the first words are shown."""

_SHELL = re.compile(r"(RUN )?(\|\d+ .* )?/\S+ (?:-\w*o \w+ |-\w+ )*-\w*c (?:#\(nop\) )?")
"""How a step begins that a shell runs, behind Docker's ``|2 A=x B=y``: values are not quoted, so all up to the *last*
shell is taken for values."""
_VALUES = re.compile(r"(?:RUN )?\|\d+ ")
_NAMING = re.compile(r"(ENV|ARG|LABEL) ([A-Za-z_][\w.-]*)(?=[= ]|$)")
_PLACING = re.compile(r"(COPY|ADD|WORKDIR|USER|VOLUME|EXPOSE) ")
_PLACE = re.compile(r"[\w.*/+-]{1,80}|(?:file|dir|multi):[0-9a-f]+|--(?:from|chown|chmod)=[\w.:/-]{1,80}|--link")
_INSTRUCTION = re.compile(r"(CMD|ENTRYPOINT|HEALTHCHECK|ONBUILD|SHELL|STOPSIGNAL|MAINTAINER)\b")
_PROGRAM = re.compile(r"[\w./+-]{1,40}(?::[\w.+-]{1,20})?")
_WORDS = re.compile(r"&&|\|\||[;|]|[^\s;&|]+")
_OF_BUILDS = """
    && || ; |
    apk apt apt-get bash bundle cargo cd chmod chown conda cp curl dnf dpkg echo export gem git go gradle groupadd
    java ln make mamba mkdir mv mvn microdnf node npm npx pip pip3 pnpm poetry python python3 rm sed set sh tar touch
    true unzip useradd uv wget yarn yum
    add all autoremove build ci clean cleanup clone create download get init install login purge remove restore run
    setup sync test update upgrade
    """
_HARMLESS = frozenset(_OF_BUILDS.split())
"""Programs and words of theirs: none of them tells anything, wherever in a command it stands."""


def shown(created_by: str) -> str:
    """The build step of ``history[].created_by``, safe to print; empty if there is none.

    :return: an instruction with paths, or with a variable's name; of commands the programs, and words of theirs that
        are known to be harmless.
    """
    step = " ".join(printable(created_by[:LONGEST_READ], " ").split()).removesuffix(" # buildkit")
    if shell := _SHELL.match(step):
        step = (shell[1] or "") + step[shell.end() :].lstrip()
    elif _VALUES.match(step):  # a shell that is none we know: nothing tells where the values end
        return f"RUN {MORE}"
    text = _said(step, behind_values=bool(shell and shell[2]))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} {MORE}"


def _said(step: str, *, behind_values: bool) -> str:
    if naming := _NAMING.match(step):
        rest = step[naming.end() :]
        return f"{naming[1]} {naming[2]}" + (f"={MASK}" if rest.strip(" =") else "")
    if placing := _PLACING.match(step):
        words = step[placing.end() :].split()
        places = list(takewhile(_PLACE.fullmatch, words))  # a URL's password may have spaces
        return " ".join([placing[1], *places, *[MORE][: len(words) - len(places)]])
    if instruction := _INSTRUCTION.match(step):
        return f"{instruction[1]} {MORE}"
    words = _WORDS.findall(step)
    said = [words.pop(0)] if words[:1] == ["RUN"] else []
    if words and not behind_values and _PROGRAM.fullmatch(words[0]):
        said.append(words.pop(0))
    for word in words:
        if word in _HARMLESS:
            said.append(word)
        elif said[-1:] != [MORE]:
            said.append(MORE)
    return " ".join(said)
