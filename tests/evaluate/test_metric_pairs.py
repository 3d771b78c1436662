from __future__ import annotations

import pytest

from rewardkit.errors import DataError
from rewardkit.evaluate.pairs import SECTIONS, pair_accuracy, pair_wins, section_accuracy


def test_a_tie_is_half_a_win():
    assert pair_wins([2.0, 1.0, 0.0], [1.0, 1.0, 1.0]).tolist() == [1.0, 0.5, 0.0]
    assert pair_accuracy([2.0, 1.0, 0.0, 5.0], [1.0, 1.0, 1.0, 1.0]) == 0.625


def test_a_section_worked_out_by_hand():
    """Chat has five subsets of 100, 95, 95, 28 and 40 pairs."""
    found = dict.fromkeys(SECTIONS["Chat"], 1.0) | {"alpacaeval-easy": 0.5, "mt-bench-med": 0.0, "elsewhere": 0.0}
    assert section_accuracy(found, "Chat") == pytest.approx((50 + 95 + 95 + 28) / 358)


def test_mathematics_weighs_as_much_as_all_code_together():
    code = {name: 0.0 for name in SECTIONS["Reasoning"] if name.startswith("hep-")}
    assert section_accuracy({**code, "math-prm": 1.0}, "Reasoning") == 0.5


def test_a_section_without_pairs_has_no_score():
    assert section_accuracy({"hep-go": 1.0}, "Safety") is None
    with pytest.raises(DataError, match="no section 'Sefety'"):
        section_accuracy({}, "Sefety")
