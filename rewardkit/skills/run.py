"""`rewardkit synth` with a teacher: from a model's failures to a profile of missing skills, and to problems.

    skills -> tags of the pool -> failures read -> profile -> problems chosen (STAT-Sel) or written (STAT-Syn)

Every answer of the teacher is kept in the run's folder before it is used: the same command goes on after a kill.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import DataError
from rewardkit.generate import Generation, GenerationRequest, GeneratorConfig
from rewardkit.generate.answers import AnswerCache, key_of
from rewardkit.images import image_fault
from rewardkit.labelers.asker import Asker
from rewardkit.skills.profile import (
    agreed_answer,
    choose_problems,
    draw_skills,
    failed,
    missing_profile,
    problem_key,
    refuse_shared,
)
from rewardkit.skills.teacher import known_names, list_skills, missing, solve, tag, write_problems
from rewardkit.store.config import ProblemsConfig, TracesConfig
from rewardkit.store.files import write_text
from rewardkit.store.state import FOLDER, RunState
from rewardkit.store.versions import versions
from rewardkit.types import Problem, Trace

Progress = Callable[[int, int], None]


class SkillsConfig(Config):
    """The configuration of ``rewardkit synth`` where there is a teacher (STAT, arXiv 2510.10023).

    Attributes:
        teacher: the generator that lists, tags, reads and writes.
        failures: the student's responses, on problems that are not those of `evaluation`.
        failed_by: which of them failed: ``answer``, ``scores`` or a source of labels, see `rewardkit.skills.profile`.
        evaluation: the problems that will be measured on: neither failures nor pool may share one.
        pool: problems to choose from, and examples for new ones.
        mode: ``select`` problems of the pool, or ``ask`` for new ones.
        count: of problems to choose, or to ask for.
        skills: their names; empty lets the teacher list them, from the first `listed` problems of the pool.
        listed: see `skills`.
        most_failures: that are read (STAT: 500).
        examples: of the pool, shown with each problem that is asked for.
        solutions: of the teacher for each new problem.
        agree: so many of them must have the same answer, which becomes the reference.
        output: the folder of the run.
        seed: of draws and of the sampling.
    """

    teacher: GeneratorConfig
    failures: TracesConfig
    failed_by: str = "answer"
    evaluation: ProblemsConfig
    pool: ProblemsConfig
    mode: Literal["select", "ask"] = "select"
    count: int = Field(default=100, ge=1)
    skills: tuple[str, ...] = ()
    listed: int = Field(default=20, ge=1, le=200)
    most_failures: int = Field(default=500, ge=1)
    examples: int = Field(default=3, ge=0, le=10)
    solutions: int = Field(default=3, ge=1)
    agree: int = Field(default=2, ge=1)
    output: str
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SkillsResult:
    """What a run found: the folder, and the manifest as written there."""

    output: Path
    manifest: dict[str, Any]


def run_skills(config: SkillsConfig, progress: Progress | None = None) -> SkillsResult:
    """Run STAT's path, or go on with it.

    The folder gets ``problems.jsonl`` (what `problems.source` takes), ``profile.json``, ``readings.jsonl`` (what the
    teacher read in each failure) and ``manifest.json``.

    Args:
        config: what to do.
        progress: called after each batch of questions.

    Raises:
        ConfigError: the teacher cannot work, or the folder belongs to something else.
        DataError: a source cannot be read, a split shares a problem with evaluation, nothing failed, or the teacher
            names no skill.
        ServerError: the teacher gives no answers.
    """
    failures, pool, evaluation, inputs = _sources(config)
    with RunState(config.output, None) as state:
        teacher = _Teacher(config.teacher, state.folder / FOLDER, progress)
        try:
            return _run(config, teacher, failures, pool, evaluation, inputs)
        finally:
            teacher.close()


def _sources(config: SkillsConfig) -> tuple[list[Trace], list[Problem], list[Problem], dict[str, str]]:
    """The failures, the pool and the problems of evaluation, which share none; and the hashes of what was read."""
    traces, pool, evaluation = config.failures.load(), config.pool.load(), config.evaluation.load()
    refuse_shared([row.trace.problem for row in traces.rows], evaluation.rows, "failures")
    refuse_shared(pool.rows, evaluation.rows, "pool")
    readable = [row for row in traces.rows if not image_fault(row.trace.problem)]
    found = failed(readable, config.failed_by)[: config.most_failures]
    if not found:
        raise DataError(f"none of {len(traces.rows)} traces failed by {config.failed_by}: there is nothing to read")
    inputs = {
        f"failures: {config.failures.source}": traces.digest,
        f"pool: {config.pool.source}": pool.digest,
        f"evaluation: {config.evaluation.source}": evaluation.digest,
    }
    return found, list(pool.rows), list(evaluation.rows), inputs


def _run(
    config: SkillsConfig,
    teacher: _Teacher,
    failures: Sequence[Trace],
    pool: Sequence[Problem],
    evaluation: Sequence[Problem],
    inputs: Mapping[str, str],
) -> SkillsResult:
    skills = known_names(config.skills, len(config.skills)) or list_skills(
        teacher.ask, pool[: config.listed], config.seed
    )
    if not skills:
        raise DataError("the teacher names no skill; name them with skills=[...], or take another teacher")
    read = _spoken(missing(teacher.ask, failures, skills, config.seed), "failures")
    profile = missing_profile(failures, read)
    tags = _spoken(tag(teacher.ask, pool, skills, config.seed), "problems of the pool")
    counts = {
        "skills": len(skills),
        "failures": len(failures),
        "failures_without_verdict": sum(skills is None for skills in read),
        "pool": len(pool),
        "pool_without_verdict": sum(skills is None for skills in tags),
    }
    if config.mode == "select":
        chosen = choose_problems(profile, tags, config.count, config.seed)
        rows = [_row(pool[i], tags[i] or ()) for i in chosen]
    else:
        rows, written = _new_problems(config, teacher, profile, pool, tags, evaluation)
        counts |= written
    counts["problems"] = len(rows)
    root = Path(config.output)
    readings = [
        {"trace_id": t.id, "problem_id": t.problem.id, "missing": m} for t, m in zip(failures, read, strict=True)
    ]
    _write_lines(root / "readings.jsonl", readings)
    _write_lines(root / "problems.jsonl", rows)
    about = {"skills": skills, "missing": profile, "counts": counts}
    write_text(root / "profile.json", json.dumps(about, indent=2) + "\n")
    manifest = {
        "command": "synth",
        "config": config.model_dump(mode="json"),
        "versions": versions(),
        "inputs": dict(inputs),
        "seeds": {"sampling": config.seed},
        "counts": counts,
        "missing": profile,
        "teacher": teacher.usage,
    }
    write_text(root / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    return SkillsResult(root, manifest)


def _spoken(verdicts: list[list[str] | None], of: str) -> list[list[str] | None]:
    """Verdicts, at least one of which could be read.

    Raises:
        DataError: none could.
    """
    if all(verdict is None for verdict in verdicts):
        raise DataError(
            f"none of the teacher's answers on {len(verdicts)} {of} ends with the JSON that it was asked for; "
            "give its answers more room (teacher.max_new_tokens), or take another teacher"
        )
    return verdicts


def _new_problems(
    config: SkillsConfig,
    teacher: _Teacher,
    profile: Mapping[str, int],
    pool: Sequence[Problem],
    tags: Sequence[Sequence[str] | None],
    evaluation: Sequence[Problem],
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """STAT-Syn: problems that the teacher writes by examples, with the answer that enough of its solutions give."""
    skills = draw_skills(profile, config.count, config.seed)
    fitting = {skill: [p for p, own in zip(pool, tags, strict=True) if skill in (own or ())] for skill in profile}
    wanted = [(skill, _turn(fitting[skill], number, config.examples)) for number, skill in enumerate(skills)]
    texts = write_problems(teacher.ask, wanted, config.seed)
    seen = {problem_key(problem.text) for problem in (*pool, *evaluation)}
    fresh: list[tuple[str, Problem]] = []
    for skill, text in zip(skills, texts, strict=True):
        if text is not None and problem_key(text) not in seen:
            seen.add(problem_key(text))
            fresh.append((skill, Problem.create(text)))
    solutions = solve(teacher.ask, [problem for _, problem in fresh], config.solutions, config.seed)
    answers = [agreed_answer(texts, config.agree) for texts in solutions]
    rows = [
        {"prompt": problem.text, "answer": answer, "skills": [skill]}
        for (skill, problem), answer in zip(fresh, answers, strict=True)
        if answer is not None
    ]
    written = sum(text is not None for text in texts)
    return rows, {"written": written, "seen_before": written - len(fresh), "no_agreement": len(fresh) - len(rows)}


def _turn(problems: Sequence[Problem], start: int, count: int) -> list[Problem]:
    """`count` problems from a place on, round and round, so that equal skills are shown other examples."""
    return [problems[(start + i) % len(problems)] for i in range(min(count, len(problems)))]


class _Teacher:
    """The generator, with a memory on disk of all that it answered."""

    def __init__(self, config: GeneratorConfig, folder: Path, progress: Progress | None) -> None:
        self._asker = Asker([config])
        self._cache = AnswerCache(folder / "answers")
        self._config = config.model_dump(mode="json", exclude={"endpoint", "batch_size"})
        self._size, self._progress = config.batch_size, progress
        self.remembered = 0

    @property
    def usage(self) -> dict[str, int]:
        """What this sitting used, and what it took from earlier ones."""
        return {**self._asker.usage, "remembered": self.remembered}

    def ask(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Answer requests, those that were answered before from memory; errors are not remembered."""
        keys = [key_of({**self._config, "messages": r.messages, "sample": r.sample, "seed": r.seed}) for r in requests]
        known = {key: found for key in keys if (found := self._cache.get(key)) is not None}
        self.remembered += sum(key in known for key in keys)
        open_ = [(key, request) for key, request in zip(keys, requests, strict=True) if key not in known]
        made: dict[str, Generation] = {}
        for start in range(0, len(open_), self._size):
            batch = open_[start : start + self._size]
            for (key, _), answer in zip(batch, self._asker.ask([request for _, request in batch]), strict=True):
                if answer.finish_reason != "error":
                    self._cache.put(key, asdict(answer))
                made[key] = answer
            if self._progress:
                self._progress(min(start + self._size, len(open_)), len(open_))
        return [
            made[key] if key in made else Generation(**{**known[key], "id": request.id, "cached": True})
            for key, request in zip(keys, requests, strict=True)
        ]

    def close(self) -> None:
        """End the generator and close the memory."""
        self._asker.close()
        self._cache.close()


def _row(problem: Problem, skills: Sequence[str]) -> dict[str, Any]:
    prompt = problem.prompt if isinstance(problem.prompt, str) else [dict(m) for m in problem.prompt]
    return {"prompt": prompt, "answer": problem.answer, "skills": list(skills)}


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
