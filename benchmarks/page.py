"""How long does `rewardkit show` take for 5,000 traces, and how long until a browser can be used on the page?

    python benchmarks/page.py [--quick]

Builds a dataset of real ProcessBench traces, copied with small changes up to the size, with labels and scores; writes
the page several times; opens it in headless Chromium several times. Interactive means that the list is drawn and a
filter click has changed it. ``--quick`` takes 1,000 traces and fewer repeats.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from rewardkit.evaluate.page import write_page
from rewardkit.samples import sample_path
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 traces, within a minute")
    quick = parser.parse_args().quick
    count, repeats = (1000, 2) if quick else (5000, 5)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root, islice(rows(), count), {})
        build = median(lambda: write_page(root), repeats)
        page = write_page(root)
        ready, click, move = in_browser(page.path, repeats)
    print(f"{count} traces, medians of {repeats} runs")
    print(f"page_size_mb: {page.size / 1e6:.1f} (target <= {0.003 * count:.0f})")
    print(f"page_build_s: {build:.2f} (target <= {0.001 * count:.0f})")
    print(f"page_interactive_s: {ready:.2f} (target <= 2.0)")
    print(f"page_filter_ms: {click:.0f} (target <= 100)")
    print(f"page_next_trace_ms: {move:.0f} (target <= 50)")


def rows() -> Iterator[LabelledTrace]:
    """Endless labelled traces: the shipped ones again and again, as samples of their own."""
    draw = random.Random(0)
    with gzip.open(sample_path("processbench-gsm8k"), "rt", encoding="utf-8") as stream:
        known = [json.loads(line) for line in stream]
    for number, row in enumerate(cycle(known)):
        trace = Trace.create(Problem.create(row["problem"]), row["steps"], model=row["generator"], sample=number)
        end = len(row["steps"]) if row["label"] < 0 else row["label"] + 1
        labels = [
            StepLabel(trace.id, i, float(i != row["label"]), "human", "prefix", "by a person") for i in range(end)
        ]
        yield LabelledTrace(trace, tuple(labels), tuple(draw.random() for _ in row["steps"]))


def in_browser(file: Path, repeats: int) -> tuple[float, float, float]:
    """Seconds to a usable page, milliseconds for a filter click, milliseconds for the next trace; medians."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        found = [_visit(browser.new_page(viewport={"width": 1400, "height": 900}), file) for _ in range(repeats)]
        browser.close()
    ready, click, move = zip(*found, strict=True)
    return statistics.median(ready), statistics.median(click), statistics.median(move)


# Layout is forced by reading a size, so that drawing is in the time.
_CLICK = """() => { const t = performance.now(); document.querySelector('[data-filter=error]').click();
               document.body.offsetHeight; return performance.now() - t; }"""
_MOVE = """() => { const t = performance.now();
              for (let i = 0; i < 10; i++) {
                document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j' })); document.body.offsetHeight;
              }
              return (performance.now() - t) / 10; }"""


def _visit(page: Any, file: Path) -> tuple[float, float, float]:
    start = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready] #list .row")
    before = page.inner_text("#count")
    click = page.evaluate(_CLICK)
    assert page.inner_text("#count") != before
    ready = time.perf_counter() - start
    move = page.evaluate(_MOVE)
    page.close()
    return ready, click, move


def median(action: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
