"""What the CPU is asked, and what is left as it is."""

from __future__ import annotations

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
