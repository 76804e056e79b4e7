"""Programs that make images and are not ours: skopeo, umoci, buildah, Docker's own builders; each as a user runs it.

Every one gets its base from the local Batch's registry and pushes to it. What they keep is below a folder of the
test's; a Docker Engine is started for the tests alone, without a network, and stopped by its process id.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = "us-docker.pkg.dev/acme/batch"
BASE = f"{REPOSITORY}/base:1"


def program(name: str, package: str = "") -> str:
    """Where a program is; the test is skipped where it is not."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (Debian: apt install {package or name})")
    return found


def root_only(what: str) -> None:
    """Skip the test for anybody but root."""
    if os.geteuid() != 0:
        pytest.skip(f"not applicable: {what} needs root here")


def run(*words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a program printed; its words, where it failed."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=os.environ | dict(env or {})
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stdout


def write_context(folder: Path) -> Path:
    """What the builds put into an image: two small files, a tree with owners and modes of its own, two empty tars."""
    folder.mkdir()
    for name, text in (("hello", "hello\n"), ("other", "another\n")):
        (folder / name).write_text(text)
        os.utime(folder / name, (1_000_000_000, 1_000_000_000))
    with tarfile.open(folder / "tree.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode, more in (
            ("srv/data", tarfile.DIRTYPE, 0o2750, ""),
            ("srv/data/plain", tarfile.REGTYPE, 0o751, "the bytes of a file"),
            ("srv/data/hard", tarfile.LNKTYPE, 0o751, "srv/data/plain"),
            ("srv/data/soft", tarfile.SYMTYPE, 0o777, "plain"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, 1234, 5678, 1_000_000_000
            content = more.encode() if kind == tarfile.REGTYPE else b""
            info.size, info.linkname = len(content), "" if content else more
            tar.addfile(info, io.BytesIO(content))
    with tarfile.open(folder / "empty.tar", "w"):
        pass
    header = tarfile.TarInfo().create_pax_global_header({"comment": "a commit"})
    (folder / "headers.tar").write_bytes(header + bytes(1024))
    return folder


@dataclass(frozen=True)
class Skopeo:
    """Copies images between registries and folders, and changes their format on the way.

    :param address: the local Batch's ``HOST:PORT``.
    """

    address: str
    path: str

    def there(self, name: str) -> str:
        """An image of the local Batch's registry, as skopeo writes it."""
        return f"docker://{self.address}/{name}"

    def copy(self, source: str, target: str, *options: str) -> None:
        """``skopeo copy``."""
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false", *options)
        run(self.path, "--insecure-policy", "copy", "--quiet", *plain, source, target)

    def convert(self, source: str, target: str, *options: str) -> None:
        """From one name of the registry to another."""
        self.copy(self.there(source), self.there(target), *options)


@dataclass(frozen=True)
class Umoci:
    """Builds images in an OCI layout; skopeo brings it there and back.

    :param folder: where the layout is kept.
    """

    skopeo: Skopeo
    folder: Path
    path: str

    def make(self, name: str, *steps: Sequence[str | Path]) -> None:
        """An image of the base and some steps, pushed.

        :param steps: each the words of a command of umoci's that changes an image.
        """
        tag = name.rpartition("/")[2].replace(":", "-")
        layout = self.folder / "layout"
        self.skopeo.copy(self.skopeo.there(BASE), f"oci:{layout}:{tag}")
        for command, *rest in steps:
            words = (command, rest.pop(0)) if command == "raw" else (command,)
            run(self.path, *words, "--image", f"{layout}:{tag}", *rest)
        self.skopeo.copy(f"oci:{layout}:{tag}", self.skopeo.there(name))


@dataclass(frozen=True)
class Buildah:
    """Builds without a daemon, here without user namespaces and overlays too.

    :param folder: where it keeps images and containers.
    """

    address: str
    folder: Path
    path: str

    @property
    def _env(self) -> dict[str, str]:
        conf = self.folder / "storage.conf"
        if not conf.exists():
            self.folder.mkdir()
            places = f'runroot = "{self.folder}/run"\ngraphroot = "{self.folder}/graph"\n'
            conf.write_text(f'[storage]\ndriver = "vfs"\n{places}')
        return {"CONTAINERS_STORAGE_CONF": str(conf), "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, command: str, *words: str | Path) -> str:
        """Run one of its commands; what it printed."""
        return run(self.path, command, *words, env=self._env).strip()

    def make(self, name: str, context: Path, lines: str, *options: str) -> None:
        """Build from the base and the lines of a Dockerfile, one layer a line, and push."""
        (context / "Containerfile").write_text(f"FROM {self.address}/{BASE}\n{lines}")
        self("bud", "--tls-verify=false", "--layers", "--quiet", "--tag", f"localhost/{name}", *options, context)
        self.push(name)

    def push(self, name: str) -> None:
        """Bring what was built under that name to the registry."""
        self("push", "--quiet", "--tls-verify=false", f"localhost/{name}", f"docker://{self.address}/{name}")

    def close(self) -> None:
        """Remove containers and images, which may have been mounted."""
        self("rm", "--all")


@dataclass
class Docker:
    """A Docker Engine of the tests' own; its classic builder, and BuildKit.

    :param folder: a short one, as it holds sockets.
    """

    address: str
    folder: Path
    client: str = field(init=False)
    _env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._env = {"DOCKER_HOST": f"unix://{self.folder}/docker.sock", "DOCKER_CONFIG": str(self.folder)}
        # A later client needs a plugin for BuildKit; one of the engine's own version has it inside.
        found = [path for path in ("/usr/bin/docker", shutil.which("docker")) if path and Path(path).exists()]
        if not found:
            pytest.skip("docker is not installed (Debian: apt install docker.io, and docker-cli where there is such)")
        self.client = found[0]

    @contextmanager
    def running(self) -> Iterator[Docker]:
        """Start the engine, and stop it."""
        # In a mount namespace of its own nothing stays mounted.
        command = ["unshare", "--mount", program("dockerd", "docker.io"), "--bridge=none", "--iptables=false"]
        command += ["--ip6tables=false", "--storage-driver=vfs", f"--host={self._env['DOCKER_HOST']}"]
        command += [f"--data-root={self.folder}/root", f"--exec-root={self.folder}/exec"]
        command += [f"--pidfile={self.folder}/pid", "--insecure-registry=127.0.0.0/8"]
        with (self.folder / "log").open("wb") as log:
            engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while subprocess.run([self.client, "info"], env=os.environ | self._env, capture_output=True).returncode:
                said = (self.folder / "log").read_text()
                assert engine.poll() is None, f"dockerd did not start:\n{said}"
                assert time.monotonic() < deadline, f"dockerd did not answer:\n{said}"
                time.sleep(0.1)
            yield self
        finally:
            engine.terminate()
            try:
                engine.wait(20)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait()

    def make(self, name: str, context: Path, lines: str, *, buildkit: bool) -> None:
        """Build from the base and the lines of a Dockerfile, and push."""
        (context / "Dockerfile").write_text(f"FROM {self.address}/{BASE}\n{lines}")
        env = self._env | {"DOCKER_BUILDKIT": "1" if buildkit else "0"}
        tag = f"{self.address}/{name}"
        run(self.client, "build", "--network=none", "--quiet", f"--tag={tag}", context, env=env)
        run(self.client, "push", "--quiet", tag, env=env)
