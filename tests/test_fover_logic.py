"""FoVer's data path: generated deductions, answered in the step format, each line labelled, all of it counted."""

from __future__ import annotations

import pytest

from rewardkit.cli.synth import _label_rows
from rewardkit.config import load_config
from rewardkit.labelers.logic import LogicLabeler
from rewardkit.labels.abstentions import abstention
from rewardkit.store import read_dataset
from rewardkit.store.fover import from_fover, to_fover
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem, Trace

ANSWERS = '''
from rewardkit.generate import Generation


class Answers:
    """Gold proofs; the second sample spoils the first step, the third writes prose before it."""

    def __init__(self, config):
        pass

    def generate(self, requests):
        return [Generation(r.id, self.text(r), "stop", 9, "gold") for r in requests]

    def text(self, request):
        meta = request.problem.meta
        lines = [*meta["gold_proof"].splitlines(), "$proof_label$: " + meta["label"]]
        if request.sample == 1:
            lines[0] = "fact99 -> " + lines[0].partition(" -> ")[2]
        if request.sample == 2:
            lines.insert(0, "Let us see, so everything follows.")
        return "\\n".join(lines)
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fover")
    (folder / "own.py").write_text(ANSWERS)
    values = ["problems.limit=12", f"generator.kind={folder / 'own.py'}:Answers", f"output={folder / 'run'}"]
    values += ["problems.options.depth=3", "problems.options.labels=[PROVED, DISPROVED]"]
    return run_synth(load_config(SynthConfig, "synth", "fover-logic", values))


def test_every_response_is_kept_and_each_line_is_one_step(run):
    rows = read_dataset(run.output)
    assert len(rows) == 36 and not run.counts["bad_rows"]
    for row in rows:
        assert all(step.text.strip().count("\n") == 0 for step in row.trace.steps)
        assert row.trace.steps[-1].text.startswith("$proof_label$: ")


def test_gold_lines_are_proved_spoilt_ones_refuted_and_prose_is_unparsed(run):
    rows = read_dataset(run.output)
    found = {n: [r.labels for r in rows if r.trace.meta.get("sample", 0) == n] for n in range(3)}
    assert all(x.p_correct == 1.0 for labels in found[0] for x in labels)
    assert all(labels[0].p_correct == 0.0 and "fact99" in labels[0].evidence for labels in found[1])
    assert all(labels[0].p_correct is None and labels[1].p_correct == 1.0 for labels in found[2])


def test_the_summary_counts_proved_refuted_unknown_and_unparsed(run):
    counts = run.counts
    assert counts["abstentions"]["logic"]["unparsed"] == 12
    ((name, text),) = _label_rows(counts["labels"], counts["abstentions"])
    correct, wrong = counts["labels"]["logic"]["correct"], counts["labels"]["logic"]["wrong"]
    assert name == "labels: logic"
    assert text == f"{correct} proved, {wrong} refuted, 0 unknown, 12 unparsed, 0 with nothing to check"


def test_the_dataset_can_be_labelled_again_from_its_file(run):
    with LogicLabeler() as labeler:
        for row in read_dataset(run.output)[:6]:
            assert [x.p_correct for x in labeler.label(row.trace)] == [x.p_correct for x in row.labels]


def test_the_dataset_goes_out_in_fovers_format_and_comes_back(run):
    for row in read_dataset(run.output):
        back = from_fover(to_fover(row, "logic"), "logic")
        assert [(x.step, x.p_correct) for x in back.labels] == [
            (x.step, x.p_correct) for x in row.labels if x.p_correct is not None
        ]
        assert back.trace.problem.meta["facts"]


@pytest.mark.parametrize("header", ["$proof$:\n", ""])
def test_a_heading_of_the_proof_does_not_cost_its_first_line(header):
    text = f"{header}fact1 -> int1: {{A}} ;\n"
    problem = Problem.create("?", meta={"facts": {"fact1": "{A} & {B}"}, "hypothesis": "{A}"})
    with LogicLabeler() as labeler:
        labels = labeler.label(Trace.create(problem, text.splitlines(keepends=True)))
    assert labels[-1].p_correct == 1.0


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        ("undecided: out of time", "unknown"),
        ("the premises contradict each other: fact1", "unknown"),
        ("[unparsed: no line in one step]", "unparsed"),
        ("not in the format of a step: 'So it holds'", "unparsed"),
        ("the conclusion cannot be read: one token is left", "unparsed"),
        ("nothing to check", "nothing"),
        ("no calculation found", "nothing"),
        ("", "unknown"),
    ],
)
def test_kinds_of_abstentions(evidence, kind):
    assert abstention(evidence) == kind
