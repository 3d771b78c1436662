from __future__ import annotations

import re

import pytest

from rewardkit.evaluate.page import write_page
from rewardkit.store.dataset import LabelledTrace, read_dataset, write_dataset

pytestmark = pytest.mark.slow


class Watched:
    """A page opened from its file, with everything that the browser complained about or asked for."""

    def __init__(self, browser, file, **options):
        self.context = browser.new_context(viewport={"width": 1400, "height": 900}, **options)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def color(self, selector, prop):
        script = "([s, p]) => getComputedStyle(document.querySelector(s))[p]"
        text = self.page.evaluate(script, [selector, prop])
        numbers = [float(x) for x in re.findall(r"-?[\d.]+(?:e-?\d+)?", text.removeprefix("color(srgb"))]
        return [x * 255 for x in numbers[:3]] if text.startswith("color(srgb") else numbers[:3]

    def find(self, text):
        self.page.fill("#query", text)
        return self.page.locator("#list .row")


@pytest.fixture
def opened(browser, page_file, request):
    watched = Watched(browser, page_file, **getattr(request, "param", {}))
    yield watched
    watched.context.close()
    assert watched.complaints == []
    assert len(watched.requests) == 1 and watched.requests[0].startswith("file://")


def blue(color):
    return color[2] > color[0]


def test_labels_and_scores_color_a_step_each_on_its_own(opened):
    opened.find("48/2 = 16")
    wrong, right = '.step[data-step="0"]', '.step[data-step="1"]'
    assert not blue(opened.color(wrong, "borderLeftColor")), "label wrong: vermilion"
    assert blue(opened.color(wrong, "backgroundColor")), "score 0.97: blue"
    assert blue(opened.color(right, "borderLeftColor")), "label right: blue"
    assert not blue(opened.color(right, "backgroundColor")), "score 0.04: vermilion"
    assert opened.page.inner_text(f"{wrong} .score").strip() == "0.97"
    assert "✗" in opened.page.inner_text(f"{wrong} .chips")


def test_white_space_of_a_step_is_kept(opened):
    opened.find("48/2 = 16")
    text = opened.page.locator('.step[data-step="1"] .text')
    assert text.text_content() == "So  it is\n\n  64."
    assert text.evaluate("node => getComputedStyle(node).whiteSpace").startswith("pre-wrap")
    assert opened.page.locator('.step[data-step="0"] .text').text_content() == "48/2 = 16\n"


def test_a_filter_click_changes_what_is_listed(opened):
    assert opened.page.inner_text("#count") == "63 of 63 traces"
    opened.page.click('[data-filter="unlabelled"]')
    assert opened.page.inner_text("#count") == "1 of 63 traces"
    assert opened.page.locator("#list .row").count() == 1
    assert "Nobody looked" in opened.page.inner_text("#trace")


def test_disagreement_follows_labels_scores_and_threshold(opened, dataset):
    def expected(threshold):
        return sum(
            any((x.p_correct >= 0.5) != (row.scores[x.step] >= threshold) for x in row.labels if x.source == "human")
            for row in read_dataset(dataset)
        )

    opened.page.click('[data-filter="disagreement"]')
    assert opened.page.inner_text("#count") == f"{expected(0.5)} of 63 traces"
    opened.page.evaluate(
        "const t = document.getElementById('threshold'); t.value = 0.95; t.dispatchEvent(new Event('input'))"
    )
    assert expected(0.95) > expected(0.5)
    assert opened.page.inner_text("#count") == f"{expected(0.95)} of 63 traces"


def test_the_largest_gap_comes_first(opened):
    gaps = [float(text) for text in opened.page.locator("#list .gap").all_inner_texts()]
    assert gaps[0] == 0.97 and gaps == sorted(gaps, reverse=True)


def test_models_and_label_sources_can_be_chosen(opened, dataset):
    opened.page.select_option("#model", "Qwen2.5-Math-7B-Instruct")
    count = sum(row.trace.model == "Qwen2.5-Math-7B-Instruct" for row in read_dataset(dataset))
    assert opened.page.inner_text("#count") == f"{count} of 63 traces"
    opened.page.select_option("#model", "")
    opened.page.select_option("#source", label="arithmetic (local)")
    opened.page.click('[data-filter="error"]')
    assert opened.page.inner_text("#count") == "0 of 63 traces"


def test_evidence_shows_on_hover_and_on_keyboard_focus(opened):
    opened.find("48/2 = 16")
    tip, chip = opened.page.locator("#tip"), opened.page.locator(".chip[data-label=wrong]").first
    assert tip.is_hidden()
    chip.hover()
    assert "48/2 is 24, not 16" in tip.inner_text() and "human · prefix" in tip.inner_text()
    opened.page.mouse.move(5, 5)
    assert tip.is_hidden()
    chip.focus()
    assert "48/2 is 24, not 16" in tip.inner_text()
    opened.page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert "48/2 is 24, not 16" in chip.get_attribute("aria-label")


def test_j_and_k_move_between_traces(opened):
    selected = opened.page.locator('.row[aria-selected="true"]')
    first = selected.get_attribute("id")
    opened.page.keyboard.press("j")
    assert selected.get_attribute("aria-posinset") == "2"
    opened.page.keyboard.press("k")
    assert selected.get_attribute("id") == first
    for _ in range(40):
        opened.page.keyboard.press("j")
    assert selected.is_visible() and selected.get_attribute("aria-posinset") == "41"
    opened.page.focus("#query")
    opened.page.keyboard.type("jk")
    assert opened.page.input_value("#query") == "jk"


def test_text_of_a_model_stays_text(opened, dataset):
    evil = read_dataset(dataset)[1].trace.steps[0].text
    assert "</script><script>" in evil and "onerror" in evil
    assert opened.find("onerror").count() == 1
    assert evil == opened.page.locator('.step[data-step="0"] .text').text_content()
    opened.page.locator(".chip").first.hover()
    assert evil in opened.page.locator("#tip").text_content()
    assert opened.page.locator("img, iframe, #trace script").count() == 0
    assert opened.page.title() == "data-set · RewardKit"


def test_only_rows_in_sight_exist(opened):
    assert opened.page.locator("#list .row").count() < 40
    opened.page.evaluate("document.getElementById('list').scrollTop = 1e6")
    opened.page.wait_for_selector('.row[aria-posinset="63"]')
    assert opened.page.locator("#list .row").count() < 40


def test_figures_and_every_plot_are_drawn(opened):
    assert "0.812" in opened.page.inner_text("#figures") and "[0.790, 0.834]" in opened.page.inner_text("#figures")
    assert opened.page.locator(".figure-note").first.inner_text() == "beside it: prior 0.500"
    titles = opened.page.locator(".plot h3").all_inner_texts()
    assert titles[:3] == ["Reliability", "Reliability, human", "Best of n"]
    assert titles[3:] == ["Labels flipped", "ROC", "Precision and recall", "Training"]
    for number in range(len(titles)):
        plot = opened.page.locator(".plot").nth(number)
        assert plot.locator("path.line").count() >= 1
        assert "NaN" not in plot.locator("> svg").evaluate("node => node.outerHTML")
        assert plot.locator(".axis-label").count() == 2 and plot.locator(".tick").count() >= 6


@pytest.mark.parametrize("opened", [{"color_scheme": "dark"}], indirect=True)
def test_the_dark_scheme_is_dark_and_can_be_switched(opened):
    assert sum(opened.color("body", "backgroundColor")) < 100
    opened.page.click("#theme")
    assert sum(opened.color("body", "backgroundColor")) > 700
    opened.page.click("#theme")
    assert sum(opened.color("body", "backgroundColor")) < 100


def test_a_narrow_screen_needs_no_sideways_scrolling(opened):
    opened.page.set_viewport_size({"width": 360, "height": 700})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_page_without_labels_scores_and_report_still_shows_traces(browser, dataset, tmp_path):
    bare = [LabelledTrace(row.trace) for row in read_dataset(dataset)[3:6]]
    write_dataset(tmp_path, bare, {})
    watched = Watched(browser, write_page(tmp_path).path)
    assert watched.page.inner_text("#count") == "3 of 3 traces"
    assert watched.page.locator(".step").count() == len(bare[0].trace.steps)
    assert watched.page.is_hidden("#evaluation") and watched.page.is_hidden("#threshold")
    assert watched.complaints == []
    watched.context.close()
