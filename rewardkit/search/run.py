"""`rewardkit search`: search for many problems and write down everything that was tried.

result = run_search(load_config(SearchConfig, "search", "majority-gsm8k", ["output=runs/try"]))
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import ConfigError
from rewardkit.generate import GeneratorConfig, load_generator
from rewardkit.generate.prompt import PromptConfig
from rewardkit.models import RewardModel, load_reward_model
from rewardkit.models.spec import Reducer
from rewardkit.search.choose import Choice
from rewardkit.search.sampling import SamplePlan, SampleResult, search_samples
from rewardkit.search.steps import load_steps
from rewardkit.search.stepwise import GREEDY, SearchPlan, SearchResult, search_steps
from rewardkit.store import load_problems
from rewardkit.store.files import write_text
from rewardkit.store.versions import versions
from rewardkit.synth import SourceConfig
from rewardkit.text.answers import default_checker
from rewardkit.text.split import SplitRule
from rewardkit.types import Problem

Method = Literal["majority", "best_of_n", "weighted_vote", "prm_as_orm", "beam", "dvts", "greedy", "guided_greedy"]
Chooser = Literal["majority", "best_of_n", "weighted_vote"]
WHOLE = ("majority", "best_of_n", "weighted_vote", "prm_as_orm")


class SearchConfig(Config):
    """A search.

    Attributes:
        problems: to be solved.
        method: over whole responses (majority, best_of_n, weighted_vote; prm_as_orm is best_of_n with each response
            scored as a single step) or step by step (beam, dvts, greedy, guided_greedy).
        model: the reward model: a folder, or the address of a scoring service. Only the majority needs none.
        generator: writes the responses, or their steps; its `samples` is not read.
        prompt: how a question is put.
        n: responses a problem (at most, where `batch` is set).
        batch: of whole responses: draw so many at a time, and no more where the choice has settled.
        confidence: of the settled vote.
        enough: a score that settles it.
        width: continuations of each response that is kept, step by step.
        rounds: steps of a response at most.
        lookahead: steps written ahead before a candidate is scored.
        separator: between steps, step by step.
        split: how whole responses are cut into steps.
        reducer: from step scores to one; None takes the reward model's own.
        choose: how the responses of a step-wise search are chosen among.
        max_tokens: of one problem, step by step.
        together: problems that are searched at a time.
        seed: of the samples.
        output: a folder: ``results.jsonl`` and ``manifest.json``.
    """

    problems: SourceConfig
    method: Method = "majority"
    model: str | None = None
    generator: GeneratorConfig = GeneratorConfig()
    prompt: PromptConfig = PromptConfig()
    n: int = Field(default=8, ge=1)
    batch: int | None = Field(default=None, ge=1)
    confidence: float = Field(default=0.95, gt=0.5, le=1.0)
    enough: float | None = None
    width: int = Field(default=4, ge=1)
    rounds: int = Field(default=40, ge=1)
    lookahead: int = Field(default=0, ge=0)
    separator: str = Field(default="\n\n", min_length=1)
    split: SplitRule = "auto"
    reducer: Reducer | None = None
    choose: Chooser = "weighted_vote"
    max_tokens: int | None = Field(default=None, ge=1)
    together: int = Field(default=64, ge=1)
    seed: int = 0
    output: str = "runs/search"


@dataclass(frozen=True, slots=True)
class SearchRun:
    """What a search gave.

    Attributes:
        output: the folder.
        problems: how many were searched.
        answered: how many have an answer.
        accuracy: share of right answers among problems with a reference; None where there is none.
        tokens: that were written.
        seconds: that it took.
    """

    output: Path
    problems: int
    answered: int
    accuracy: float | None
    tokens: int
    seconds: float


def run_search(config: SearchConfig) -> SearchRun:
    """Search, and write ``results.jsonl`` (one row a problem, with every candidate) and ``manifest.json``.

    Raises:
        ConfigError: the method needs what the config lacks.
        DataError: the problems cannot be read.
    """
    began = time.monotonic()
    if config.model is None and config.method != "majority":
        raise ConfigError(f"method={config.method} needs a reward model: model=FOLDER or model=http://...")
    source = config.problems
    problems = load_problems(
        source.source, source.limit, offset=source.offset, subset=source.subset, split=source.split
    ).rows
    search = _whole(config) if config.method in WHOLE else _stepwise(config)
    rows: list[dict[str, Any]] = []
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.jsonl").open("w", encoding="utf-8") as file:
        for start in range(0, len(problems), config.together):
            for result in search(problems[start : start + config.together]):
                rows.append(_row(result))
                file.write(json.dumps(_finite(rows[-1]), ensure_ascii=False) + "\n")
    made = _summary(folder, rows, time.monotonic() - began)
    figures = {name: value for name, value in asdict(made).items() if name != "output"}
    manifest = {"config": config.model_dump(mode="json"), "versions": versions(), "result": figures}
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return made


def _whole(config: SearchConfig) -> Any:
    as_one = config.method == "prm_as_orm"
    plan = SamplePlan(
        "best_of_n" if as_one else config.method,
        config.n,
        config.batch,
        config.confidence,
        config.enough,
        config.reducer,
        "whole" if as_one else config.split,
        config.seed,
    )
    model: RewardModel | None = load_reward_model(config.model) if config.model is not None else None
    generator = load_generator(config.generator)
    return lambda problems: search_samples(problems, generator, plan, model=model, prompt=config.prompt)


def _stepwise(config: SearchConfig) -> Any:
    plan = SearchPlan(
        config.method,
        config.n,
        1 if config.method in GREEDY else config.width,
        config.rounds,
        config.lookahead,
        config.reducer,
        config.choose,
        config.max_tokens,
    )
    steps = load_steps(config.generator, prompt=config.prompt, separator=config.separator, seed=config.seed)
    model = load_reward_model(config.model or "")
    return lambda problems: search_steps(problems, steps, model, plan)


def _row(result: SampleResult | SearchResult) -> dict[str, Any]:
    problem, choice = result.problem, result.choice
    row = {
        "problem_id": problem.id,
        "prompt": problem.text,
        "reference": problem.answer,
        "correct": _correct(problem, choice),
        **_chosen(choice),
        "tokens": result.tokens,
    }
    if isinstance(result, SampleResult):
        return row | {"drawn": result.drawn, "settled": result.settled}
    return row | {"rounds": result.rounds, "explored": [asdict(node) for node in result.explored]}


def _chosen(choice: Choice) -> dict[str, Any]:
    made = asdict(choice)
    return {"answer": choice.answer, "response": choice.text, **made}


def _correct(problem: Problem, choice: Choice) -> bool | None:
    if problem.answer is None:
        return None
    return bool(choice.answer) and default_checker().matches_reference(choice.answer or "", problem.answer) is True


def _summary(folder: Path, rows: Sequence[Mapping[str, Any]], seconds: float) -> SearchRun:
    judged = [row["correct"] for row in rows if row["correct"] is not None]
    accuracy = sum(judged) / len(judged) if judged else None
    answered = sum(1 for row in rows if row["answer"])
    return SearchRun(folder, len(rows), answered, accuracy, sum(row["tokens"] for row in rows), round(seconds, 2))


def _finite(value: Any) -> Any:
    """NaN and infinities as null: they are no JSON."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
