"""The whole path in one call: with a tiny random model quickly, with the embedded model and vLLM as users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import build_tiny_tokenizer

from rewardkit.models.spec import RewardModelSpec
from rewardkit.quickstart import STAGES, QuickstartConfig, run_quickstart
from rewardkit.store import read_dataset

TINY = {
    "fresh_problems": 2,
    "labelled_problems": 40,
    "max_traces": 24,
    "max_held_out": 20,
    "max_processbench": 12,
    "max_problems": 6,
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random language model whose context is long enough for the worked examples of the recipe."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("policy") / "tiny"
    tokenizer = build_tiny_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=4096, eos_token_id=2, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def config(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> QuickstartConfig:
    output = tmp_path_factory.mktemp("quickstart") / "run"
    return QuickstartConfig(output=str(output), model=str(policy), backend="transformers", **TINY)


def test_every_stage_leaves_what_the_next_one_and_the_user_need(config: QuickstartConfig) -> None:
    run = run_quickstart(config)
    assert list(run.stages) == list(STAGES)
    assert not run.reused
    root = Path(config.output)
    assert any(x.p_correct == 0.0 for row in read_dataset(root / "labels") for x in row.labels)
    assert RewardModelSpec.load(root / "model").meaning == "local"
    assert run.stages["serve"]["offline_difference"] < 1e-5
    assert len(run.stages["serve"]["scores"]) == 3
    assert (root / "eval" / "report.html").stat().st_size > 10_000
    assert run.stages["eval"]["figures"]["best-of-4: oracle"][0] > 0


def test_a_second_run_reuses_every_stage(config: QuickstartConfig) -> None:
    run_quickstart(config)
    again = run_quickstart(config)
    assert again.reused == list(STAGES)


def test_a_run_that_stopped_goes_on_behind_the_last_finished_stage(config: QuickstartConfig) -> None:
    run_quickstart(config)
    memory = Path(config.output) / "quickstart.json"
    record = json.loads(memory.read_text())
    for name in ("serve", "show"):
        del record["stages"][name]
    memory.write_text(json.dumps(record))
    assert run_quickstart(config).reused == ["model", "fresh", "labels", "train", "eval"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_served_by_vllm_the_trained_model_scores_as_it_does_offline(demo: tuple[Path, str]) -> None:
    stages = json.loads((demo[0] / "runs" / "quickstart" / "quickstart.json").read_text())["stages"]
    assert stages["serve"]["backend"] == "vllm"
    assert stages["serve"]["offline_difference"] < 1e-5
    assert stages["fresh"]["traces"] == 2
