"""The page of the service in a real browser: two real models behind one address, and a stand-in that waits."""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from chromium import launched
from test_service_limits import FaultyScorer
from tiny import build_tiny_reward_model

from rewardkit.server.app import create_app
from rewardkit.server.config import serve_config
from rewardkit.server.page import page as page_text
from rewardkit.server.plain import AppServer
from rewardkit.server.port import free_port
from rewardkit.server.scorer import StepLogits
from rewardkit.server.several import SeveralServers

pytestmark = pytest.mark.slow
EVIL = '<img src=x onerror="document.title=\'owned\'"> </script><script>document.title="owned"</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    yield from launched()


class Slow(FaultyScorer):
    """A stand-in: a step scores high with "good" in its place of `marks`; the second and later steps wait for `go`."""

    names = ("stand-in",)

    def __init__(self, marks):
        super().__init__(None)
        self.marks, self.go = marks, threading.Event()

    async def logits(self, batch):
        made = []
        for item in batch:
            count = len(item.positions)
            while count > 1 and not self.go.is_set():
                await asyncio.sleep(0.01)
            made.append(StepLogits(np.array([[3.0 if good else -3.0] for good in self.marks[:count]])))
        return made

    async def ready(self):
        return True


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[str, Slow]]:
    scorer = Slow([True, False, True])
    config = serve_config({"profile": "cpu", "backend": "transformers", "host": "127.0.0.1"})
    config = config.model_copy(update={"port": free_port("127.0.0.1", 0)})
    app = create_app(scorer, keys=["secret"])
    server = AppServer(app, app.state.rewardkit_traffic, config)
    root = f"http://127.0.0.1:{config.port}"
    with httpx.Client(transport=httpx.HTTPTransport(retries=5), trust_env=False) as http:
        assert http.get(f"{root}/ready").status_code == 200
    yield root, scorer
    scorer.go.set()
    server.stop()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Iterator[SeveralServers]:
    folder = tmp_path_factory.mktemp("two")
    models = {name: str(build_tiny_reward_model(folder / name, seed=seed)) for name, seed in (("one", 0), ("two", 3))}
    with SeveralServers({"models": models, "backend": "transformers", "port": 0}) as server:
        yield server


class Opened:
    """The page, with everything that the browser complained about."""

    def __init__(self, browser, root, key=None):
        self.context = browser.new_context(viewport={"width": 1300, "height": 900})
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(root)
        if key:
            self.page.wait_for_selector("#key-field:not([hidden])")
            self.complaints.clear()  # the 401 that told the page to ask for a key
            self.page.fill("#key", key)
            self.page.locator("#key").blur()
        self.page.wait_for_selector("html[data-ready]")

    def ask(self, problem, response, first=None, second=""):
        self.page.fill("#problem", problem)
        self.page.fill("#response", response)
        if first:
            self.page.select_option("#first", first)
            self.page.select_option("#second", second)
        self.page.click("#go")

    def done(self):
        self.page.wait_for_selector('#results[data-state="done"]')

    def mean_color(self, selector):
        """Of a screenshot of it: what a reader sees, not what the style sheet says."""
        from PIL import Image

        box = self.page.locator(selector).bounding_box()
        image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        # The empty right end of the step.
        area = (box["x"] + box["width"] - 40, box["y"] + 4, box["x"] + box["width"] - 8, box["y"] + box["height"] - 4)
        return np.asarray(image.crop(tuple(map(int, area))), dtype=float).reshape(-1, 3).mean(axis=0)


@pytest.fixture
def opened(browser, two):
    made = Opened(browser, two.root)
    yield made
    made.context.close()
    assert made.complaints == []


def test_steps_are_tinted_as_they_come(browser, standing):
    root, scorer = standing
    made = Opened(browser, root, "secret")
    made.ask("1 + 1?", "one\n\ntwo\n\nthree")
    made.page.wait_for_selector('.step[data-step="0"]')
    assert made.page.locator(".step").count() == 1 and "scoring" in made.page.inner_text(".facts")
    assert made.page.inner_text('.step[data-step="0"] .text').strip() == "one"
    scorer.go.set()
    made.done()
    assert [text.strip() for text in made.page.locator(".score").all_inner_texts()] == ["0.95", "0.05", "0.95"]
    high, low = (made.mean_color(f'.step[data-step="{i}"]') for i in (0, 1))
    assert high[2] > high[0] + 5, "high is blue"
    assert low[0] > low[2] + 5, "low is orange"
    assert made.complaints == []
    made.context.close()


def test_two_models_stand_side_by_side_with_their_own_scores(opened, two):
    steps = [f"{i} clips in May\n\n" for i in range(6)]
    opened.ask("How many?", "".join(steps), "one", "two")
    opened.done()
    with httpx.Client(trust_env=False) as http:
        for name in ("one", "two"):
            body = {"model": name, "input": {"prompt": "How many?", "response": "".join(steps)}}
            answer = http.post(f"{two.url}/rewards", json=body).json()["data"][0]
            result = opened.page.locator(f'.result[aria-label="{name}"]')
            shown = [float(text) for text in result.locator(".score").all_inner_texts()]
            assert shown == pytest.approx(answer["step_scores"], abs=0.0051)
            sides = result.locator(".step").evaluate_all("nodes => nodes.map((node) => node.dataset.side)")
            assert sides == ["high" if score >= 0.5 else "low" for score in answer["step_scores"]]
            assert f"{answer['score']:.3f}" in result.locator(".facts").inner_text()
    left, right = (opened.page.locator(f'.result[aria-label="{n}"]').bounding_box() for n in ("one", "two"))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    differing = opened.page.locator('.step[data-differs="true"]').count()
    sides = "(r) => [...r.querySelectorAll('.step')].map((s) => s.dataset.side)"
    pairs = opened.page.evaluate(f"[...document.querySelectorAll('.result')].map({sides})")
    assert differing == 2 * sum(a != b for a, b in zip(*pairs, strict=True))


def test_an_example_can_be_picked_and_scored(opened):
    opened.page.select_option("#example", label="a misread question")
    assert "train" in opened.page.input_value("#problem")
    opened.page.click("#go")
    opened.done()
    assert opened.page.locator(".step").count() == 3


def test_text_stays_text(opened):
    opened.ask(EVIL, f"{EVIL}\n\n{EVIL}")
    opened.done()
    assert opened.page.locator('.step[data-step="0"] .text').text_content().strip() == EVIL
    assert opened.page.title() == "RewardKit" and opened.page.locator("#results img, #results script").count() == 0


def test_a_fault_is_told_in_the_servers_words(browser, two):
    made = Opened(browser, two.root)
    made.ask("How many?", "word " * 2000)
    made.done()
    assert "tokens, and this model takes 512" in made.page.inner_text(".fault")
    made.context.close()


def test_the_page_is_open_and_what_it_asks_is_not(standing):
    root, _ = standing
    with httpx.Client(base_url=root, trust_env=False) as http:
        answer = http.get("/")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert http.get("/v1/models").status_code == http.post("/").status_code == 401
    policy = answer.headers["content-security-policy"]
    assert policy == page_text()[1]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert not re.search(r"\son\w+=|javascript:|innerHTML|https?://", answer.text)


def test_a_narrow_screen_needs_no_sideways_scrolling(opened):
    opened.page.set_viewport_size({"width": 360, "height": 700})
    opened.ask("How many?", "clips " * 30, "one", "two")
    opened.done()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
