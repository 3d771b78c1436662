"""The page of the shipped formal traces in a real browser: each step shows each of its labels with its evidence."""

from __future__ import annotations

import pytest

from rewardkit.evaluate.page import write_page
from rewardkit.store import load_traces, write_dataset

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", ["logic", "equations", "gsm8k"])
def test_each_step_shows_its_labels_and_their_evidence(browser, tmp_path, family):
    rows = [row for row in load_traces("sample:formal-traces").rows if row.trace.meta["family"] == family]
    row = max(rows[:50], key=lambda row: len([x for x in row.labels if x.p_correct is not None]))
    write_dataset(tmp_path, [row], {})
    context = browser.new_context()
    page = context.new_page()
    page.goto(write_page(tmp_path).path.as_uri())
    page.wait_for_selector("html[data-ready]")
    for step in range(len(row.trace.steps)):
        chips = page.locator(f'.step[data-step="{step}"] .chip')
        shown = [chips.nth(i).get_attribute("data-body") for i in range(chips.count())]
        wanted = [x.evidence for x in row.labels if x.step == step]
        assert wanted and shown == wanted
    chip = page.locator(".chip").first
    chip.hover()
    assert row.labels[0].evidence in page.locator("#tip").inner_text()
    context.close()
