"""Containers that a script starts itself: ``docker run`` and its like, found by reading the script as a shell would.

A reading, not a shell: words, quotes, comments and what separates commands are understood, variables and functions are
not. What it misses is missing from a warning, no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<comment>(?<![^\s;&|()])\#[^\n]*)
      | (?P<space>\\\n|[^\S\n]+)
      | (?P<end>[;&|()`\n]|\$\()
      | (?P<quoted>'[^']*'|"(?:\\.|[^"\\])*")
      | (?P<bare>\\.|[^\s;&|()`'"\\$]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_STARTING = ("run", "create", "start")
_OWN_WORDS = {"singularity": ("run", "exec"), "apptainer": ("run", "exec"), "ctr": ("run",), "crictl": ("run", "runp")}
"""What starts a container, where it is not :data:`_STARTING`."""
_PROGRAMS = frozenset({"docker", "podman", "nerdctl", "docker-compose", "podman-compose", *_OWN_WORDS})
_GROUPS = frozenset({"container", "compose"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_BEFORE = re.compile(
    r"if|then|elif|else|while|until|do|[{!]|time|exec|command|nohup|sudo|env|nice|ionice|timeout|xargs|eval"
)
"""Words that a command may follow."""
_VALUE_BEFORE = re.compile(r"-[ugaCDIdf]|--(user|group|chdir|unset|signal)")
"""Options of :data:`_BEFORE` whose value is the next word, and no number, which is passed over anyway."""
_WITH_VALUE = re.compile(
    r"-[Hclnafp]|--(host|config|context|log-level|tlscacert|tlscert|tlskey"  # Docker's
    r"|file|project-name|project-directory|env-file|profile|ansi|progress|parallel"  # Compose's
    r"|root|runroot|url|connection|identity|storage-driver|storage-opt|cgroup-manager"  # Podman's
    r"|namespace|address|snapshotter|timeout|connect-timeout|runtime-endpoint|image-endpoint)"  # containerd's
)
"""Options between the program and its subcommand whose value is the next word."""
_DEEPEST = 5


def containers_run(script: str) -> list[tuple[int, str]]:
    """``(line, "docker run")`` of each command of a script that starts a container; lines count from 1."""
    return list(_found(script, 1, 0))


def _found(script: str, line: int, depth: int) -> Iterator[tuple[int, str]]:
    if depth > _DEEPEST:
        return
    for at, words in _commands(script, line):
        yield from _run(at, words, depth)
        for word in words:  # "$(docker run ...)": what stands in double quotes is run too
            if (start := word.find("$(")) >= 0:
                yield from _found(word[start + 2 :], at, depth + 1)


def _commands(script: str, line: int) -> Iterator[tuple[int, list[str]]]:
    """Each command's line and words, without their quotes."""
    words: list[str] = []
    word: str | None = None
    at = line
    for token in _TOKEN.finditer(script):
        kind, text = token.lastgroup, token[0]
        if kind in ("quoted", "bare"):
            if not words and word is None:
                at = line
            plain = text[1:-1] if kind == "quoted" else text.removeprefix("\\")
            word = (word or "") + plain
        elif word is not None:
            words.append(word)
            word = None
        if kind == "end" and words:
            yield at, words
            words = []
        line += text.count("\n")
    if word is not None:
        words.append(word)
    if words:
        yield at, words


def _run(line: int, words: list[str], depth: int) -> Iterator[tuple[int, str]]:
    rest = _without_prefix(words)
    program = rest[0].rpartition("/")[2] if rest else ""
    if program in _SHELLS:
        flags = [i for i, word in enumerate(rest) if re.fullmatch(r"-[a-z]*c", word)]
        if flags and flags[0] + 1 < len(rest):
            yield from _found(rest[flags[0] + 1], line, depth + 1)
    elif program in _PROGRAMS and (what := _starts(program, rest[1:])):
        yield line, what


def _starts(program: str, words: list[str]) -> str:
    """What starts a container, if these words do."""
    after = _without_options(words)
    composes = program.endswith("-compose") or after[:1] == ["compose"]
    if after and after[0] in _GROUPS:
        after = _without_options(after[1:])
    if after and after[0] in _OWN_WORDS.get(program, _STARTING):
        return f"{program} {after[0]}"
    return f"{program.removesuffix('-compose')} compose up" if composes and after[:1] == ["up"] else ""


def _without_prefix(words: list[str]) -> list[str]:
    """From the program on: without ``sudo -E``, ``timeout 60``, ``NAME=value``."""
    prefixed, at = False, 0
    while at < len(words):
        word = words[at]
        if _BEFORE.fullmatch(word):
            prefixed = True
        elif prefixed and word.startswith("-"):
            at += bool(_VALUE_BEFORE.fullmatch(word))
        elif not re.match(r"\w+=", word) and not (prefixed and re.fullmatch(r"[\d.]+[smhd]?", word)):
            break
        at += 1
    return words[at:]


def _without_options(words: list[str]) -> list[str]:
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if _WITH_VALUE.fullmatch(words[at]) else 1
    return words[at:]
