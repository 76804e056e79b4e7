"""What Docker's default seccomp profile takes from a container without capabilities: namespaces and mounts.

For running a program outside of Docker as it will find things inside.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER, _FIRST_ARGUMENT = 0, 16
"""Offsets in the kernel's ``struct seccomp_data``."""
_NEW_NAMESPACES = 0x7E020000
"""All the ``CLONE_NEW*`` flags that Docker's profile looks at."""
_CLONE3 = 435
_CALLS = {  # clone, then: mount, umount2, pivot_root, unshare, setns
    "x86_64": (56, (165, 166, 155, 272, 308)),
    "aarch64": (220, (40, 39, 41, 97, 268)),
}


def known() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return platform.machine() in _CALLS


def confine() -> None:
    """Take them from this process and all of its children to come; what ``no-new-privileges`` takes too.

    :raises OSError: the kernel does not take the filter.
    """
    clone, refused = _CALLS[platform.machine()]
    refuse = struct.pack("=HBBI", _RETURN, 0, 0, _REFUSE | errno.EPERM)
    program = [struct.pack("=HBBI", _LOAD, 0, 0, _NUMBER)]
    program += [
        struct.pack("=HBBI", _IF_EQUAL, 0, 1, _CLONE3),
        struct.pack("=HBBI", _RETURN, 0, 0, _REFUSE | errno.ENOSYS),
    ]
    for number in refused:
        program += [struct.pack("=HBBI", _IF_EQUAL, 0, 1, number), refuse]
    program += [
        struct.pack("=HBBI", _IF_EQUAL, 0, 3, clone),
        struct.pack("=HBBI", _LOAD, 0, 0, _FIRST_ARGUMENT),
        struct.pack("=HBBI", _IF_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        refuse,
        struct.pack("=HBBI", _RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    told = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, told, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")
