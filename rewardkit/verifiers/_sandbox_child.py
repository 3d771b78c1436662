"""The child of `rewardkit.verifiers.sandbox`: reads a program, locks itself in, runs it. Standard library only.

Run as ``python -I -S _sandbox_child.py MEMORY_MB CPU_SECONDS`` with the program on standard input.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import resource
import struct
import sys

# Nothing can be imported once the filter stands, since nothing can be opened: what a program may want comes first.
PRELOADED = (
    "abc", "array", "bisect", "calendar", "cmath", "collections", "collections.abc", "contextlib", "copy",
    "dataclasses", "datetime", "decimal", "encodings.ascii", "encodings.idna", "encodings.latin_1", "enum",
    "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "operator", "random", "re",
    "statistics", "string", "textwrap", "time", "types", "typing", "unicodedata", "unittest", "zoneinfo",
)  # fmt: skip

# The only system calls that work afterwards: memory, time, signals of its own, reading and writing what is open.
ALLOWED = {
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 20, 24, 25, 28, 35, 39, 60, 96, 131, 186, 201, 202, 219)
        + (228, 229, 230, 231, 318, 334),
    ),
    "aarch64": (
        0xC00000B7,
        (57, 62, 63, 64, 66, 80, 93, 94, 98, 101, 113, 114, 115, 124, 128, 132, 134, 135, 139, 169, 172, 178)
        + (214, 215, 216, 222, 226, 233, 278, 293),
    ),
}

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050001, 0x7FFF0000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2


def main() -> None:
    memory_mb, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    source = sys.stdin.buffer.read()
    for name in PRELOADED:
        importlib.import_module(name)
    limit(memory_mb, cpu_seconds)
    lock()
    if not source:
        print("locked")  # an empty program is the question whether this works here
        sys.stdout.flush()
        os._exit(0)
    os._exit(run(source))


def limit(memory_mb: int, cpu_seconds: int) -> None:
    """Limits that the kernel keeps."""
    for what, value in (
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (value, value))


def lock() -> None:
    """Refuse every system call but `ALLOWED`, for good: no file, socket, process or signal to another."""
    architecture, allowed = ALLOWED[platform.machine()]
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    for i, number in enumerate(allowed):
        code.append((_EQUAL, len(allowed) - i, 0, number))
    code += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    filter_ = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filter_)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _FILTER, program, 0, 0):
        sys.stderr.write("SandboxUnavailable")
        os._exit(3)


def run(source: bytes) -> int:
    """Run the program; 0 where it ended well, 1 with the exception's name on standard error otherwise."""
    try:
        # The one place where a model's program is executed, behind the lock.
        exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
    except SystemExit as stop:
        sys.stdout.flush()
        return 0 if stop.code in (None, 0) else 2
    except BaseException as error:
        with_name = type(error).__name__.encode("ascii", "replace")
        os.write(2, with_name[:100])
        return 1
    return 0


if __name__ == "__main__":
    main()
