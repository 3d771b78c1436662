"""Links between the pages lead somewhere, and every benchmark is in the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rewardkit.models.spec import RewardModelSpec

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_every_benchmark_is_listed():
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in ROOT.glob("benchmarks/*.py") if f"[`{p.name}`]({p.name})" not in listed] == []


def test_models_page_names_every_key_of_the_spec_and_its_example_is_one():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)[1]
    assert RewardModelSpec.model_validate_json(example).kind == "token"
    assert [key for key in RewardModelSpec.model_fields if f"`{key}`" not in text] == ["format_version"]
