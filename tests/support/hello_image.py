"""A small image in a local Batch's registry, brought there as a user brings it: by the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def push_hello(address: str, name: str) -> str:
    """Build an image with a shell in it and push it.

    :param address: the local Batch's ``HOST:PORT``.
    :param name: the image's full name with a tag.
    :return: the pinned reference.
    """
    batchstream = Path(sys.executable).parent / "batchstream"
    done = subprocess.run(
        [batchstream, "image", "build", "--tag", name, "--push"],
        env=os.environ | {"BATCH_EMULATOR_HOST": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
