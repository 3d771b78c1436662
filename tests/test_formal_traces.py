"""The shipped real traces with formal labels: the labels are what the labelers give, and the page shows why."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter

import pytest
from formal_sample import FAMILIES, labelled

from rewardkit.config import load_config
from rewardkit.evaluate.page import write_page
from rewardkit.labelers import load_labeler
from rewardkit.samples import sample_path
from rewardkit.store import load_traces, read_dataset, write_dataset
from rewardkit.synth import SynthConfig, run_synth

SOURCES = sorted({name for names in FAMILIES.values() for name in names})
MISSING = shutil.which("coqtop") is None and not os.environ.get("CI")


@pytest.fixture(scope="module")
def rows():
    return load_traces("sample:formal-traces").rows


def of(rows, family, every=1):
    """Every so many traces of a family."""
    return [row for row in rows if row.trace.meta["family"] == family][::every]


def values(labels, source):
    return [(x.step, x.p_correct) for x in labels if x.source == source]


def test_there_are_enough_traces_of_each_family_all_of_a_real_model(rows):
    assert len(rows) >= 2000 and {row.trace.model for row in rows} == {"smollm2-135m-instruct"}
    counts = Counter(row.trace.meta["family"] for row in rows)
    assert set(counts) == set(FAMILIES) and counts["logic"] >= 900 and counts["equations"] >= 500
    assert sample_path("formal-traces").stat().st_size < 1_500_000


@pytest.mark.parametrize(("source", "least"), [("arithmetic", 500), ("logic", 500), ("proof", 50), ("algebra", 25)])
def test_each_formal_verifier_found_right_and_wrong_steps(rows, source, least):
    found = Counter(x.p_correct for row in rows for x in row.labels if x.source == source)
    assert min(found[1.0], found[0.0]) >= least


def test_every_step_has_one_label_of_each_labeler_of_its_family_with_its_evidence(rows):
    for row in rows:
        wanted = {(s, i) for s in FAMILIES[row.trace.meta["family"]] for i in range(len(row.trace.steps))}
        named = [(x.source, x.step) for x in row.labels if x.source != "answer"]
        assert sorted(named) == sorted((s, i) for s, i in wanted if s != "answer")
        assert all(x.evidence and x.meaning == "local" for x in row.labels if x.source != "answer")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_labels_are_what_the_labelers_give(rows, family):
    """On every sixteenth trace. After a change of a labeler that is meant: python tests/formal_sample.py"""
    _derive_again(of(rows, family, every=16), [s for s in FAMILIES[family] if s != "proof"])


@pytest.mark.skipif(MISSING, reason="there is no coqtop: apt-get install coq")
def test_coqs_labels_are_what_coq_gives(rows):
    _derive_again(of(rows, "equations", every=16), ["proof"])


@pytest.mark.slow
@pytest.mark.skipif(MISSING, reason="there is no coqtop: apt-get install coq")
def test_the_whole_sample_is_what_its_program_makes(rows):
    again = labelled(row.trace for row in rows)
    assert [values(row.labels, s) for row in again for s in SOURCES] == [
        values(row.labels, s) for row in rows for s in SOURCES
    ]


def _derive_again(rows, sources):
    assert len(rows) > 30
    for source in sources:
        labeler = load_labeler(source)
        try:
            for row in rows:
                assert values(labeler.label(row.trace), source) == values(row.labels, source), row.trace.steps
        finally:
            getattr(labeler, "close", lambda: None)()


def test_algebra_and_coq_agree_on_every_line_that_both_decided(rows):
    """They share no code: one reads plain algebra and asks Z3, the other reads formal statements and asks Coq."""
    both = Counter()
    for row in of(rows, "equations"):
        algebra = dict(values(row.labels, "algebra"))
        proof = {x.step: x.p_correct for x in row.labels if x.source == "proof" and "by coq" in x.evidence}
        both.update((algebra[step], p) for step, p in proof.items() if algebra[step] is not None)
    assert set(both) == {(1.0, 1.0), (0.0, 0.0)} and sum(both.values()) > 150


@pytest.fixture(scope="module")
def shown(rows, tmp_path_factory):
    """Some traces of each family as a dataset, and the data of its page."""
    folder = tmp_path_factory.mktemp("formal")
    some = [row for family in FAMILIES for row in of(rows, family, every=40)]
    write_dataset(folder, some, {})
    html = write_page(folder).path.read_text(encoding="utf-8")
    return some, json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])


def test_the_page_holds_the_evidence_of_every_step(shown):
    some, data = shown
    for row, trace in zip(some, data["traces"], strict=True):
        labels = [(step, p, data["sources"][s]["source"], evidence) for step, p, s, evidence in trace["l"]]
        assert labels == [(x.step, x.p_correct, x.source, x.evidence) for x in row.labels]
    evidence = {x[3] for trace in data["traces"] for x in trace["l"]}
    assert any(text.startswith("does not follow from fact") for text in evidence)
    assert any("|-" in text and "[proved by coq" in text for text in evidence)


def test_the_recipe_makes_the_dataset_with_all_its_labels_and_no_model(rows, tmp_path):
    result = run_synth(load_config(SynthConfig, "synth", "formal-traces", [f"output={tmp_path / 'out'}"]))
    assert result.counts["traces"] == len(rows) and not result.counts["bad_rows"]
    assert [row.labels for row in read_dataset(tmp_path / "out")] == [row.labels for row in rows]
