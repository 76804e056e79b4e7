"""A layer's build step as it may be shown: one line, cut, with what may be a secret masked.

Build arguments are not encrypted in an image: whoever may pull it can read them in its history. That is no reason to
print them into a task log as well. Masked is rather too much than too little: *every* value of a build argument, and
whatever stands behind a name that sounds secret.
"""

from __future__ import annotations

import re

MASK = "***"
LONGEST = 60
LONGEST_READ = 2000
"""Characters of a step that are looked at: some carry a whole script, and only the first words are shown."""

_BUILD_ARGS = re.compile(r"^(RUN )?\|(\d+) (.*)(?= /\S+ -\w*c\b)|^(RUN )?\|(\d+) (.*)$")
"""Docker's ``|2 A=x B=y /bin/sh -c ...``: values are not quoted, so all up to the *last* shell is taken for values."""
_ARG = re.compile(r"^((?:/bin/sh -c #\(nop\) +)?ARG +[A-Za-z_]\w*=).*")
_SECRET_NAME = r"[\w.-]*(?:token|secret|passw|pwd|passphrase|api_?key|access_?key|private_?key|credential|auth)[\w.-]*"
_VALUE = r"(?:\"[^\"]*\"?|'[^']*'?|[^\s;&|]+)"
_ASSIGNED = re.compile(rf"\b({_SECRET_NAME}\s*[=:]\s*){_VALUE}", re.IGNORECASE)
_OPTION = re.compile(rf"(--?{_SECRET_NAME}\s+){_VALUE}", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[^\s\"']+", re.IGNORECASE)
_IN_URL = re.compile(r"(\w://)[^/\s@]*@")
_NAME = re.compile(r"(?:^|(?<=\s))([A-Za-z_]\w*)=")
_SHELL = re.compile(r"^/bin/sh -c (?:#\(nop\) +)?")


def shown(created_by: str) -> str:
    """The build step of ``history[].created_by``, safe to print; empty if there is none."""
    printable = "".join(c if c.isprintable() else " " for c in created_by[:LONGEST_READ])
    step = " ".join(printable.split())
    step = _BUILD_ARGS.sub(_without_values, step)
    step = _ARG.sub(rf"\1{MASK}", step)
    step = _BEARER.sub(rf"\1 {MASK}", step)
    step = _ASSIGNED.sub(rf"\1{MASK}", step)
    step = _OPTION.sub(rf"\1{MASK}", step)
    step = _IN_URL.sub(rf"\1{MASK}@", step)
    step = _SHELL.sub("", step).removesuffix(" # buildkit")
    return step if len(step) <= LONGEST else f"{step[: LONGEST - 3]}..."


def _without_values(found: re.Match[str]) -> str:
    run, count, values = (found[1], found[2], found[3]) if found[2] else (found[4], found[5], found[6])
    masked = " ".join(f"{name}={MASK}" for name in _NAME.findall(values))
    return f"{run or ''}|{count} {masked}"
