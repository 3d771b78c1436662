"""A real headless Chromium for the tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest


def find_browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def launched() -> Iterator[object]:
    """What a module-scoped fixture yields; without a browser its tests are skipped, but never in CI.

    Not for the whole session: while Playwright is open, its event loop counts as running in this thread, and every
    `asyncio.run` of another module would fail.
    """
    path = find_browser()
    if path is None and not os.environ.get("CI"):
        pytest.skip("there is no Chromium on PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()
