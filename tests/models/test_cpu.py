"""What the CPU is asked, and what is left as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rewardkit.models.cpu import multiplies_bfloat16, use_best_threads


@pytest.mark.parametrize(
    ("line", "can"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse2", True),
        ("flags\t\t: fpu avx512f sse2", False),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx512_bf16x", False),
    ],
)
def test_bfloat16_is_read_off_the_flags(tmp_path: Path, line: str, can: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: some\n{line}\n")
    assert multiplies_bfloat16(tmp_path / "cpuinfo") is can


def test_threads_that_the_user_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    assert use_best_threads() == before


_ALLOCATE = """
import resource
from rewardkit.models.cpu import keep_freed_memory
kept = keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(160):
    bytearray(1 << 20)  # less than a huge page
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.parametrize(
    ("set_by_user", "kept", "fewest", "most"),
    [({}, "True", 0, 4_096), ({"MALLOC_MMAP_THRESHOLD_": "131072"}, "False", 40_000, 80_000)],
    ids=["kept", "as the user set it"],
)
def test_memory_that_was_freed_is_not_asked_of_the_system_again(
    set_by_user: dict[str, str], kept: str, fewest: int, most: int
) -> None:
    """160 blocks of 256 pages: where memory is kept, the pages of one come from the system, else those of all."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _ALLOCATE]
    said = subprocess.run(command, env=clean | set_by_user, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == kept
    assert fewest <= int(said[1]) <= most
