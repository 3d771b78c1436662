"""Bad data is refused, or left out and counted, before training; and the loss sees the labels that the data has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sums import sums
from tiny import SEPARATOR, build_tiny_reward_model, build_tiny_tokenizer

from rewardkit.errors import DataError
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.text.encode import encode_steps
from rewardkit.train.checks import check_ids
from rewardkit.train.data import Collator, encode_examples
from rewardkit.train.prm import PRMConfig, TokenPRM
from rewardkit.train.run import run_training
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_reward_model(tmp_path_factory.mktemp("base") / "tiny")


def encode(prompt, steps):
    return encode_steps(build_tiny_tokenizer(), prompt, steps, 5)


def config(base: Path, tmp_path: Path, **changes: object) -> PRMConfig:
    write_dataset(tmp_path / "data", sums(30), {})
    values = {"data": [str(tmp_path / "data")], "output": str(tmp_path / "prm"), "model": str(base), "device": "cpu"}
    return PRMConfig.model_validate({**values, "separator": SEPARATOR, **changes})


class Forgetful(TokenPRM):
    """A stand-in for a fault of ours: its collator loses the last label of a batch."""

    def collator(self, tokenizer):
        inner = super().collator(tokenizer)

        def forget(rows):
            batch = inner(rows)
            labelled = (batch["labels"] != -100).nonzero()
            batch["labels"][tuple(labelled[-1])] = -100.0
            return batch

        return forget


@pytest.mark.parametrize("options", [{}, {"batch_size": 2, "accumulation": 2, "epochs": 2}])
def test_the_loss_sees_every_label_of_the_data(base: Path, tmp_path: Path, options) -> None:
    assert run_training(TokenPRM(config(base, tmp_path, **options))).steps > 0


def test_a_lost_label_stops_the_training(base: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the loss saw"):
        run_training(Forgetful(config(base, tmp_path)))


def test_ids_of_another_tokenizer_are_refused_before_training() -> None:
    with pytest.raises(DataError, match="another tokenizer"):
        check_ids([{"input_ids": [1], "rejected_ids": [1, 400]}], 400)
    check_ids([{"input_ids": [0, 399], "labels": [1.0]}], 400)


def test_bool_labels_become_numbers_beside_steps_without_a_label() -> None:
    trace = Trace.create(Problem.create("?"), ["1", "2"])
    row = LabelledTrace(trace, (StepLabel(trace.id, 1, True, "human", "prefix"),))
    made = encode_examples([row], encode, sources=["human"], max_length=64)
    labels = Collator(0)([e.row() for e in made.examples])["labels"][0].tolist()
    assert [v for v in labels if v != -100.0] == [1.0]
    assert labels.count(-100.0) == len(labels) - 1


def test_what_cannot_be_used_is_left_out_with_its_reason() -> None:
    good, silent, astray = sums(3)
    silent = replace(silent, labels=())
    astray = replace(astray, labels=(StepLabel(astray.trace.id, 99, 1.0, "arithmetic", "local"),))
    made = encode_examples([good, silent, astray], encode, sources=["arithmetic"], max_length=200)
    assert made.dropped == {"no labelled step": 1, "a label of a step that is not there": 1}
    assert made.labels == len(good.labels)


def test_a_prompt_that_the_chat_template_refuses_is_left_out() -> None:
    def refusing(prompt, steps):
        raise DataError("the chat template does not take these messages: no system message")

    made = encode_examples(sums(2), refusing, sources=["arithmetic"], max_length=200)
    assert made.dropped == {"the chat template does not take these messages: no system message": 2}


def test_a_step_whose_separator_would_be_cut_off_leaves_the_trace_out() -> None:
    row = sums(1)[0]
    whole = encode(row.trace.problem.prompt, [s.text for s in row.trace.steps])
    made = encode_examples([row], encode, sources=["arithmetic"], max_length=len(whole) - 1)
    assert (made.labels, made.dropped) == (0, {f"longer than {len(whole) - 1} tokens": 1})
