"""The whole path once, on real input: sample, label, train, evaluate, serve, look.

    result = run_quickstart(QuickstartConfig(output="runs/quickstart"))

Each stage is one call of the same function that its command calls, and leaves a folder of its own; a second run reuses
every stage that is finished. The figures are those of a small model on a small sample: they show that the path works.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rewardkit.config import Config, find_recipe, read_yaml, validate
from rewardkit.models.cpu import use_best_threads
from rewardkit.store.files import write_text

Stage = Callable[["Quickstart"], dict[str, Any]]


class QuickstartConfig(Config):
    """Configuration of `rewardkit quickstart`.

    Attributes:
        output: the folder that holds a folder for each stage.
        model: both the sampled policy and the base of the reward model.
        fresh_problems: how many questions are answered anew; the rest of the traces ship with the package.
        labelled_problems: how many problems' shipped traces are labelled.
        max_traces: how many of them train the reward model.
        max_held_out, max_processbench, max_problems: sizes of the evaluation.
        backend: who serves; ``auto`` is vLLM where it is installed, else transformers.
        seed: of everything.
    """

    output: str = "runs/quickstart"
    model: str = "smollm2-135m-instruct"
    fresh_problems: int = Field(8, ge=1)
    labelled_problems: int = Field(1500, ge=10)
    max_traces: int = Field(640, ge=8)
    max_held_out: int = Field(120, ge=10)
    max_processbench: int = Field(90, ge=10)
    max_problems: int = Field(60, ge=2)
    backend: Literal["auto", "vllm", "transformers"] = "auto"
    seed: int = 0


@dataclass(slots=True)
class Quickstart:
    """A run: its config, its folders, and what each stage found.

    Attributes:
        config: of the run.
        root: the output folder.
        stages: from a stage's name to ``{"seconds": ..., **figures}``, as kept in ``quickstart.json``.
        reused: names of the stages that were found finished.
    """

    config: QuickstartConfig
    root: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    def folder(self, name: str) -> Path:
        """The folder of a stage."""
        return self.root / name


def run_quickstart(config: QuickstartConfig) -> Quickstart:
    """Run every stage that is not finished yet.

    Raises:
        RewardKitError: a stage failed; running it again goes on there.
    """
    run = Quickstart(config, Path(config.output))
    run.root.mkdir(parents=True, exist_ok=True)
    memory = run.root / "quickstart.json"
    held = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    known = held.get("stages", {}) if held.get("config") == config.model_dump(mode="json") else {}
    for number, (name, (stage, what)) in enumerate(STAGES.items(), 1):
        if name in known:
            run.stages[name] = known[name]
            run.reused.append(name)
            continue
        known = {}
        # Anew for each stage: what else runs on the machine may have changed.
        use_best_threads()
        print(f"[{number}/{len(STAGES)}] {what}", file=sys.stderr, flush=True)
        started = time.monotonic()
        found = stage(run)
        run.stages[name] = {"seconds": round(time.monotonic() - started, 1), **found}
        print(f"      {run.stages[name]['seconds']:.0f} s", file=sys.stderr, flush=True)
        record = {"config": config.model_dump(mode="json"), "stages": run.stages}
        write_text(memory, json.dumps(record, indent=1) + "\n")
    return run


def _model(run: Quickstart) -> dict[str, Any]:
    from rewardkit.models.embedded import resolve_model

    return {"path": resolve_model(run.config.model)}


def _sample(run: Quickstart) -> dict[str, Any]:
    changes = {
        "problems": {"limit": run.config.fresh_problems},
        "generator": {"model": run.config.model, "samples": 1, "batch_size": 8},
    }
    return _synth(run, "gsm8k-smollm2", "fresh", changes)


def _label(run: Quickstart) -> dict[str, Any]:
    return _synth(run, "gsm8k-replay", "labels", {"problems": {"limit": run.config.labelled_problems}})


def _synth(run: Quickstart, recipe: str, folder: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Run a shipped recipe of `rewardkit synth` with some values changed."""
    from rewardkit.synth import SynthConfig, run_synth

    values = read_yaml(find_recipe("synth", recipe))
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    values |= {"output": str(run.folder(folder)), "seed": run.config.seed}
    result = run_synth(validate(SynthConfig, values, recipe))
    return {"traces": result.counts["traces"], "labels": result.counts["labels"]}


def _train(run: Quickstart) -> dict[str, Any]:
    from rewardkit.train.prm import PRMConfig, train_prm

    values = read_yaml(find_recipe("train", "prm-gsm8k")) | {
        "data": (str(run.folder("labels")), str(run.folder("fresh"))),
        "output": str(run.folder("model")),
        "model": run.config.model,
        "max_traces": run.config.max_traces,
        # So few traces want smaller batches and larger steps than the recipe's thousands (benchmarks/RESULTS.md).
        "batch_size": 4,
        "learning_rate": 2e-3,
        "lora": {"top_layers": 15},
        "reads": "mean",
        "max_minutes": 4,
        "max_eval": 60,
        "eval_every": 80,
        "save_every": 80,
        "seed": run.config.seed,
    }
    result = train_prm(validate(PRMConfig, values, "prm-gsm8k"))
    return {"traces": result.examples, "steps": result.steps, **result.metrics}


def _eval(run: Quickstart) -> dict[str, Any]:
    from rewardkit.evaluate.run import EvalConfig, run_eval

    config = run.config
    values = {
        "model": str(run.folder("model")),
        "data": (str(run.folder("labels")),),
        "output": str(run.folder("eval")),
        "max_held_out": config.max_held_out,
        "max_processbench": config.max_processbench,
        "max_problems": config.max_problems,
        "seed": config.seed,
    }
    result = run_eval(validate(EvalConfig, values, "quickstart"))
    figures = {f.name: [f.value, f.low, f.high, f.n] for f in result.report.figures}
    return {"scored": result.traces, "figures": figures}


def _serve(run: Quickstart) -> dict[str, Any]:
    """Start the server, send one request as any HTTP client would, and compare with the offline scores."""
    import httpx

    from rewardkit.models import load_reward_model
    from rewardkit.server.launch import Server
    from rewardkit.types import Problem, Trace

    backend = run.config.backend
    if backend == "auto":
        backend = "vllm" if _has_vllm() else "transformers"
    body = {"input": [{"prompt": QUESTION, "steps": list(STEPS)}]}
    with Server(run.folder("model"), backend=backend, port=0, dtype="float32", api_key="quickstart") as server:
        answer = httpx.post(
            f"{server.url}/rewards",
            json=body,
            headers={"Authorization": "Bearer quickstart"},
            timeout=120,
            trust_env=False,
        )
        answer.raise_for_status()
        served = answer.json()["data"][0]["step_scores"]
    offline = load_reward_model(str(run.folder("model")), dtype="float32")
    scores = offline.score([Trace.create(Problem.create(QUESTION), STEPS)])[0].scores
    difference = max(abs(a - b) for a, b in zip(served, scores, strict=True))
    return {"backend": backend, "scores": served, "offline_difference": difference}


QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and half as many in May. How many clips did she sell in all?"
)
STEPS = ("Clips sold in May: 48 / 2 = 16", "Clips sold in all: 48 + 16 = 64", "#### 64")


def _show(run: Quickstart) -> dict[str, Any]:
    from rewardkit.evaluate.page import write_page

    page = write_page(run.folder("eval"))
    return {"page": str(page.path), "traces": page.traces}


def _has_vllm() -> bool:
    from importlib.util import find_spec

    return find_spec("vllm") is not None


STAGES: dict[str, tuple[Stage, str]] = {
    "model": (_model, "converting the embedded model, once for this machine"),
    "fresh": (_sample, "sampling fresh answers from it and labelling their steps"),
    "labels": (_label, "labelling the steps of the shipped answers by exact arithmetic"),
    "train": (_train, "training a process reward model on the labels"),
    "eval": (_eval, "evaluating it on held-out problems, human labels, and at choosing answers"),
    "serve": (_serve, "serving it and scoring one response over HTTP"),
    "show": (_show, "writing the page"),
}
"""From a stage's name to its function and what it says while it runs; a stage depends on those before it."""
