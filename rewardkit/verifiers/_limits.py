"""Limits that are put on a child process from outside."""

from __future__ import annotations

import contextlib
import resource


def limit_memory(pid: int, memory_mb: int) -> None:
    """Limit the address space of a process, and its core files, where the system can do so (Linux)."""
    if hasattr(resource, "prlimit"):
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(pid, resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
