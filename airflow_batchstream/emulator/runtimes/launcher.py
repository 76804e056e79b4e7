"""Runs one command and ends all that it started. A program of its own, run as ``python -I -S launcher.py``.

It reads what to do from its standard input (a file, so that no secret stands in a command line), in the form of
:mod:`marshal`: the same interpreter stands at both ends, and JSON would cost a third of the start. It knows two ways:

- *supervised*: the command is a child of this process, which adopts every orphan below it (PR_SET_CHILD_SUBREAPER), and
  at the end kills whatever is left. No isolation.
- *isolated*: the command is process 2 of its own process table, with its own root, mounts and host name. Process 1 is a
  fork of this program; when that ends, the kernel kills everything inside, and it reports so only when all are gone.
  As root no user namespace is needed; otherwise one maps the container's user to this one.

SIGTERM and SIGINT to this process go to the command alone. SIGUSR1 kills everything; the kernel also sends it when the
process that started this one dies. Exit codes are those of :mod:`.base`.

Standard library only, and little of it: every container waits for these imports. All of them come before the root
changes, for afterwards this machine's files cannot be seen any more.
"""

# pathlib and contextlib are imports that every container would wait for:
# ruff: noqa: PTH101, PTH102, PTH108, PTH110, PTH112, PTH120, PTH123, PTH208, PTH211, SIM105
from __future__ import annotations

import ctypes
import errno
import fcntl
import marshal
import os
import select
import signal
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost more than all the rest
    from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
SYS_MOUNT_SETATTR = 442
SYS_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "armv7l": 218, "ppc64le": 203, "s390x": 217}
"""41 on all architectures that are newer than these."""
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})
"""Docker's defaults: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
sys_chroot, audit_write, setfcap; without mknod (27): no cgroup here keeps a container off this machine's disks."""
READ_ONLY_IN_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")
HIDDEN_IN_PROC = ("kcore", "keys", "timer_list", "latency_stats")
FORWARDED = (signal.SIGTERM, signal.SIGINT)
HELD = (*FORWARDED, signal.SIGUSR1, signal.SIGHUP)

libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """The command cannot be started, for the reason given.

    :param code: 125, 126 or 127.
    """

    def __init__(self, why: str, code: int = 125) -> None:
        super().__init__(why)
        self.code = code


def main() -> NoReturn:
    """Read the order, carry it out, leave with the command's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    with open(0, "rb", closefd=False) as file:
        order: dict[str, Any] = marshal.load(file)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    try:
        follow_parent(order["parent"])
        code = isolated(order, order["isolate"]) if order.get("isolate") else supervised(order)
    except RefusedError as refusal:
        code = complain(refusal)
    os._exit(code)


def complain(refusal: RefusedError) -> int:
    """Say on stderr why nothing runs."""
    os.write(2, f"batchstream: {refusal}\n".encode(errors="surrogateescape"))
    return refusal.code


def follow_parent(parent: int) -> None:
    """Kill everything when the process dies that started this one."""
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGUSR1), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def exit_code(status: int) -> int:
    """A wait status as a shell would tell it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def forward_to(pid: int) -> None:
    """From now on SIGTERM and SIGINT go to this process."""
    for number in FORWARDED:
        signal.signal(number, lambda received, _frame: os.kill(pid, received))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


# ---- supervised ------------------------------------------------------------------------------------------------


def supervised(order: dict[str, Any]) -> int:
    """Run the command as a child, then end whatever it left behind."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        start(order)
    forward_to(pid)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: kill_descendants())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    while True:
        ended, status = os.wait()
        if ended == pid:
            break
    for number in HELD:
        signal.signal(number, signal.SIG_IGN)
    pause = 0.001
    while kill_descendants():
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
        reap()
    return exit_code(status)


def kill_descendants() -> bool:
    """Kill all processes below this one; False if there are none."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (parent := parent_of(name)):
            parents.setdefault(parent, []).append(int(name))
    below = parents.get(os.getpid(), [])
    for pid in below:  # grows while it is walked
        below.extend(parents.get(pid, []))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:  # changed its user; nothing here may end it
            below = [other for other in below if other != pid]
    return bool(below)


def parent_of(pid: str) -> int:
    """The parent of a process, 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def reap() -> None:
    """Collect all children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


# ---- isolated --------------------------------------------------------------------------------------------------


def isolated(order: dict[str, Any], inside: dict[str, Any]) -> int:
    """Run the command in namespaces of its own."""
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    if not inside["network"]:
        flags |= CLONE_NEWNET
    uid, gid = os.geteuid(), os.getegid()
    if inside["userns"]:
        flags |= CLONE_NEWUSER
    check(libc.unshare(flags), "this machine gives no namespaces (unshare)")
    if inside["userns"]:
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{inside['uid']} {uid} 1")
        write("/proc/self/gid_map", f"{inside['gid']} {gid} 1")
    follow_parent(order["parent"])  # again: a change of credentials may undo it
    alive, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        os._exit(first_process(order, inside, alive))
    os.close(alive)
    forward_to(pid)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: os.kill(pid, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    return exit_code(os.waitpid(pid, 0)[1])


def first_process(order: dict[str, Any], inside: dict[str, Any], alive: int) -> int:
    """Process 1 of the container: makes its world, starts the command, collects orphans."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if select.select([alive], [], [], 0)[0]:  # the other end is closed: the launcher died before the line above
            return 128 + signal.SIGKILL
        make_world(inside)
        name = os.fsencode(inside["hostname"])
        check(libc.sethostname(name, ctypes.c_size_t(len(name))), "cannot set the host name")
        if not inside["network"]:
            loopback_up()
        make_folders(order["cwd"])
        pid = os.fork()
        if pid == 0:
            start(order, inside)
    except RefusedError as refusal:
        return complain(refusal)
    except OSError as error:
        return complain(RefusedError(f"cannot set the container up: {error}"))
    forward_to(pid)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    while True:
        ended, status = os.wait()
        if ended == pid:
            return exit_code(status)


def make_world(inside: dict[str, Any]) -> None:
    """Mount the container's root and what belongs into it, and leave this machine's."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    host = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.chdir(inside["scratch"])
    if inside["layers"]:
        # Short names, relative to this folder: all of a mount's options together may take 4 KiB.
        options = f"lowerdir={':'.join(inside['layers'])},upperdir=upper,workdir=work,userxattr"
        mount("overlay", "root", "overlay", MS_NODEV, options)
    else:
        mount("root", "root", None, MS_BIND | MS_REC)
    os.chdir("root")
    number = SYS_PIVOT_ROOT.get(os.uname().machine, 41)
    check(libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")
    # Now "/" is the container's root, with this machine's stacked on it: sources are relative to that, and targets,
    # being absolute, follow the image's own links inside the image and cannot leave it.
    os.fchdir(host)
    mount_dev()
    mount_proc()
    mount_sys()
    name_services(inside)
    make_folders("/tmp", 0o1777)
    for volume in inside["mounts"]:
        bind(volume["src"].lstrip("/") or ".", volume["dst"], read_only=volume["read_only"])
    check(libc.umount2(b".", MNT_DETACH), "leaving this machine's root")
    os.close(host)
    os.chdir("/")


def mount_dev() -> None:
    """The devices that every container has."""
    make_folders("/dev")
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        if os.path.exists(f"dev/{name}"):
            bind(f"dev/{name}", f"/dev/{name}")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    os.mkdir("/dev/shm")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777")
    os.mkdir("/dev/pts")
    try:
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
        os.symlink("pts/ptmx", "/dev/ptmx")
    except RefusedError:
        pass  # no terminals inside


def mount_proc() -> None:
    """The container's own process table; this machine's where that is refused, as inside Docker."""
    make_folders("/proc")
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except RefusedError:
        bind("proc", "/proc")
        return
    for name in READ_ONLY_IN_PROC:
        if os.path.exists(f"/proc/{name}"):
            mount(f"/proc/{name}", f"/proc/{name}", None, MS_BIND | MS_REC)
            make_read_only(f"/proc/{name}")
    for name in HIDDEN_IN_PROC:
        if os.path.exists(f"/proc/{name}"):
            mount("/dev/null", f"/proc/{name}", None, MS_BIND)


def mount_sys() -> None:
    """This machine's, read-only with all that is mounted in it, or none."""
    make_folders("/sys")
    try:
        mount("sys", "/sys", None, MS_BIND | MS_REC)
    except RefusedError:
        return
    try:
        make_read_only("/sys", needs_all=True)
    except RefusedError:
        libc.umount2(b"/sys", MNT_DETACH)


def name_services(inside: dict[str, Any]) -> None:
    """How names are looked up: as on this machine, as with Docker's host network."""
    make_folders("/etc")
    hosts = "127.0.0.1 localhost\n::1 localhost\n"
    if inside["network"]:
        hosts = inside["hosts"] or hosts
        put("/etc/resolv.conf", inside["resolv"])
    put("/etc/hosts", f"{hosts.rstrip()}\n127.0.1.1 {inside['hostname']}\n")
    put("/etc/hostname", inside["hostname"] + "\n")


def put(path: str, text: str) -> None:
    """Write a small file in place of what the image has there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, 0o644)


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show a folder or file of this machine inside; its place is made if the image has none.

    :param source: relative to this machine's root.
    """
    if not os.path.exists(source):
        raise RefusedError(f"the volume's source /{source} does not exist on this machine")
    if os.path.isdir(source):
        make_folders(target)
    elif not os.path.exists(target):
        make_folders(os.path.dirname(target))
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def make_read_only(target: str, *, needs_all: bool = False) -> None:
    """Forbid writing to a mount.

    :param needs_all: also to all mounts in it, or else fail: kernels before 5.12 know no such thing.
    """
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    done = libc.syscall(
        ctypes.c_long(SYS_MOUNT_SETATTR),
        ctypes.c_long(AT_FDCWD),
        os.fsencode(target),
        ctypes.c_long(AT_RECURSIVE),
        attributes,
        ctypes.c_long(len(attributes)),
    )
    if done == 0:
        return
    if needs_all:
        check(done, f"cannot make {target} read-only")
    keep = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)  # a user namespace may not drop these
    mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | keep)


def make_folders(path: str, mode: int = 0o755) -> None:
    """Make a folder and its parents where they are missing."""
    if os.path.isdir(path):
        return
    make_folders(os.path.dirname(path))
    try:
        os.mkdir(path)
        os.chmod(path, mode)
    except OSError as error:
        raise RefusedError(f"cannot make the folder {path} in the container: {error.strerror}") from None


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    done = libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
    check(done, f"cannot mount {kind or source or ''} on {target}".replace("  ", " "))


def loopback_up() -> None:
    """Without a network a program still finds itself on 127.0.0.1."""
    probe = libc.socket(2, 2, 0)  # AF_INET, SOCK_DGRAM
    fcntl.ioctl(probe, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    os.close(probe)


def write(path: str, text: str) -> None:
    """Write to one of the kernel's files."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except FileNotFoundError:
        if not path.endswith("setgroups"):  # came with Linux 3.19
            raise
    except OSError as error:
        raise RefusedError(f"this machine gives no working user namespaces ({path}: {error.strerror})") from None


def check(done: int, what: str) -> None:
    """Turn a failed system call into a sentence."""
    if done != 0:
        raise RefusedError(f"{what}: {os.strerror(ctypes.get_errno())}")


# ---- both ------------------------------------------------------------------------------------------------------


def start(order: dict[str, Any], inside: dict[str, Any] | None = None) -> NoReturn:
    """Become the command, if there is one. Runs in the forked child, and does not come back."""
    if not order["argv"]:
        os._exit(0)  # only the mounts were to be tried
    try:
        os.setsid()
        os.umask(0o022)
        try:
            os.chdir(order["cwd"])
        except OSError as error:
            raise RefusedError(f"cannot enter the working directory {order['cwd']}: {error.strerror}", 126) from None
        if inside is not None:
            become_user(inside)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        execute(order["argv"], order["env"])
    except RefusedError as refusal:
        os._exit(complain(refusal))
    except BaseException as error:
        os._exit(complain(RefusedError(f"cannot start the command: {error!r}")))


def become_user(inside: dict[str, Any]) -> None:
    """Give up what a container does not have: most capabilities, and where needed the root user."""
    last = 63
    for capability in range(last + 1):
        if capability not in KEPT_CAPABILITIES:
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL above the kernel's last
    if inside["userns"]:
        return
    try:
        for fd in (1, 2):  # so that /dev/stdout and /dev/stderr can be opened by that user, as with Docker
            os.fchown(fd, inside["uid"], inside["gid"])
        os.setgroups(inside["groups"])
        os.setresgid(inside["gid"], inside["gid"], inside["gid"])
        os.setresuid(inside["uid"], inside["uid"], inside["uid"])
    except OSError as error:
        raise RefusedError(f"cannot become user {inside['uid']}:{inside['gid']}: {error.strerror}") from None


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Replace this process; look the command up as a shell does.

    Not :func:`os.execvpe`: it imports lazily, and the files for that cannot be seen any more.
    """
    name, paths = argv[0], env["PATH"].split(":")
    failed = errno.ENOENT
    for candidate in [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in paths]:
        try:
            os.execve(candidate, argv, env)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                if os.path.exists(candidate):
                    raise RefusedError(f"cannot run {candidate}: its interpreter or loader is missing", 127) from None
            else:
                failed = error.errno or failed
                if error.errno != errno.EACCES:
                    break
        except ValueError as error:
            raise RefusedError(f"cannot run {name!r}: {error}", 126) from None
    if failed != errno.ENOENT:
        raise RefusedError(f"cannot run {name!r}: {os.strerror(failed)}", 126)
    where = "no such file" if "/" in name else f"not found in PATH ({env['PATH']})"
    raise RefusedError(f"cannot run {name!r}: {where}", 127)


if __name__ == "__main__":
    main()
