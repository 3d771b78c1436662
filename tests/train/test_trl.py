"""Scripts written for TRL 1.13's PRMTrainer keep going."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sums import sums
from tiny import SEPARATOR, build_tiny_reward_model

from rewardkit import load_reward_model
from rewardkit.errors import ConfigError, DataError
from rewardkit.store.formats import from_trl_stepwise, to_trl_stepwise
from rewardkit.train.trl import PRMConfig, PRMTrainer

ROWS = [to_trl_stepwise(row, "arithmetic") for row in sums(80)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_reward_model(tmp_path_factory.mktemp("base") / "tiny", num_labels=2)


@pytest.fixture(scope="module")
def parts(base: Path):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    return AutoModelForTokenClassification.from_pretrained(base), AutoTokenizer.from_pretrained(base)


def trainer(parts, rows, tmp_path, **options):
    model, tokenizer = parts
    names = ("eval_dataset", "peft_config", "processing_class")
    others = {name: options.pop(name) for name in names if name in options}
    settings = {"step_separator": SEPARATOR, "report_to": "none", "use_cpu": True, **options}
    args = PRMConfig(output_dir=str(tmp_path), **settings)
    return PRMTrainer(model, args, train_dataset=rows, **({"processing_class": tokenizer} | others))


@pytest.mark.slow
def test_a_script_for_trl_1_13_runs_learns_and_its_model_scores(base, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    script = Path(__file__).with_name("trl_1_13_script.py")
    done = subprocess.run(
        [sys.executable, str(script), str(base), str(data), str(tmp_path / "prm")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    losses = [float(v) for v in done.stdout.split("losses", 1)[1].split()]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    model = load_reward_model(str(tmp_path / "prm"))
    trace = from_trl_stepwise(ROWS[0]).trace
    assert len(model.score([trace])[0].scores) == len(trace.steps)


def test_labels_stand_at_the_separators_and_soft_ones_stay_soft(parts, tmp_path):
    row = {"prompt": "How many?", "completions": ["1 + 1 = 2", "2 + 2 = 5"], "labels": [0.7, 0.0]}
    made = trainer(parts, [row], tmp_path).train_dataset[0]
    separator = parts[1].convert_tokens_to_ids(SEPARATOR)
    labelled = [i for i, label in enumerate(made["labels"]) if label != -100]
    assert labelled == [i for i, token in enumerate(made["input_ids"]) if token == separator]
    assert [made["labels"][i] for i in labelled] == [0.7, 0.0]


def test_only_the_last_step_trains_where_asked_for_and_all_are_evaluated(parts, tmp_path):
    made = trainer(parts, ROWS[:8], tmp_path, train_on_last_step_only=True, eval_dataset={"a": ROWS[:8], "b": ROWS[:2]})
    assert all(sum(label != -100 for label in row["labels"]) == 1 for row in made.train_dataset)
    counts = [sum(label != -100 for label in row["labels"]) for row in made.eval_dataset["a"]]
    assert counts == [len(row["labels"]) for row in ROWS[:8]]


def test_the_loss_of_an_evaluation_does_not_change_with_its_batches(parts, tmp_path):
    options = {"eval_dataset": ROWS[:8]}
    made = [trainer(parts, ROWS[:2], tmp_path, per_device_eval_batch_size=size, **options) for size in (1, 8)]
    found = [one.evaluate()["eval_loss"] for one in made]
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_long_rows_are_left_out_and_said_not_cut(parts, tmp_path):
    long = {"prompt": "?", "completions": ["1 + 1 = 2 " * 40, "so 2"], "labels": [True, True]}
    with pytest.warns(UserWarning, match="1 longer than 100 tokens"):
        made = trainer(parts, [*ROWS[:2], long], tmp_path, max_length=100)
    assert len(made.train_dataset) == 2
    with pytest.warns(UserWarning, match="1 with a completion longer than 90 tokens"):
        trainer(parts, [*ROWS[:2], long], tmp_path, max_completion_length=90)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step_separator": " and then "}, ConfigError, "choose one that is a single token"),
        ({"processing_class": None}, ConfigError, "needs the tokenizer"),
        ({"eval_dataset": [{"prompt": "?", "completions": ["a"], "labels": []}]}, DataError, "row 0 of the eval data"),
    ],
)
def test_what_cannot_work_is_said_before_training(parts, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        trainer(parts, ROWS[:2], tmp_path, **options)


def test_adapters_of_another_task_are_refused(parts, tmp_path):
    from peft import LoraConfig

    with pytest.raises(ConfigError, match="task_type='TOKEN_CLS'"):
        trainer(parts, ROWS[:2], tmp_path, peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
