"""``make env``: writes ``.env``, the passwords and keys that ``docker-compose.yaml`` reads, each drawn anew.

A file that exists is kept: only keys that are missing are added, and said. It needs nothing but Python, so that it runs
before anything is set up.

    python3 scripts/env.py [FILE]
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
HEAD = """\
# Secrets of docker-compose.yaml, made by `make env`: for this machine only, never to be committed.
# POSTGRES_PASSWORD counts when the database is made: to change it later, remove the volume or alter the user too.
"""

VALUES = {
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(32),  # stands in a URL, so only characters that may
    "AIRFLOW_FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "AIRFLOW_API_SECRET_KEY": lambda: secrets.token_urlsafe(32),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(64),  # HS512 wants 64 bytes
    "AIRFLOW_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(18),  # somebody may have to type it
}


class EnvError(Exception):
    """The file is not as it must be; the message says why and what to do."""


def assigned(text: str) -> dict[str, str]:
    """The variables of a file of ``NAME=value`` lines."""
    found = re.findall(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    return {name: value.strip("'\"") for name, value in found}


def complete(path: Path) -> list[str]:
    """Give the file every key that it lacks; their names. What stands in it stays as it is.

    :raises EnvError: a key is there without a value, which Compose refuses.
    """
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(HEAD)
    text = path.read_text()
    have = assigned(text)
    if empty := [name for name in VALUES if have.get(name) == ""]:
        raise EnvError(f"{path}: without a value: {', '.join(empty)}. Remove the line, and make env draws one.")
    missing = [name for name in VALUES if name not in have]
    if missing:
        with path.open("a") as file:
            file.write("" if text.endswith("\n") else "\n")
            file.writelines(f"{name}={VALUES[name]()}\n" for name in missing)
    return missing


def main(arguments: list[str]) -> int:
    """Complete the file and say what was done, never the values."""
    path = Path(arguments[0]) if arguments else TOP / ".env"
    existed = path.exists()
    try:
        added = complete(path)
    except (EnvError, OSError) as error:
        print(f"env: {error}", file=sys.stderr)
        return 1
    if not existed:
        print(f"env: wrote {path}, readable by you only. Airflow's user is admin, AIRFLOW_ADMIN_PASSWORD its password")
    elif added:
        print(f"env: {path} lacked {', '.join(added)}: added; all else is as it was")
    else:
        print(f"env: {path} has all that is needed: left as it is")
    if path.stat().st_mode & 0o077:
        print(f"env: other users may read it: chmod 600 {path}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
