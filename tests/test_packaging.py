"""The wheel, built from the sdist and installed into a fresh virtual environment, works away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import rewardkit
from rewardkit.config import shipped
from rewardkit.recipes import list_recipes

pytestmark = pytest.mark.slow

ROOT = Path(rewardkit.__file__).parents[1]


def run(*command: object, cwd: Path = ROOT) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, made from the sdist as a package index would have it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of a fresh environment that has the wheel, and borrows its requirements from this one.

    A ``.pth`` file adds this environment's packages behind its own; the ``.pth`` of the editable checkout among them is
    not read then, so `rewardkit` can only be the wheel's.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    run(folder / "bin" / "python", "-m", "pip", "install", "-qq", "--no-index", "--no-deps", wheel)
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_wheel_claims_no_name_but_rewardkit(wheel):
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {"rewardkit", f"rewardkit-{rewardkit.__version__}.dist-info"}


def test_wheel_holds_every_file_of_the_package_and_of_the_recipes(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {p.relative_to(ROOT).as_posix() for p in _files(ROOT / "rewardkit")}
    for folder in ("recipes", "serving"):
        wanted |= {f"rewardkit/_{p.relative_to(ROOT).as_posix()}" for p in _files(shipped(folder))}
    assert wanted - names == set()
    assert "rewardkit/py.typed" in names


def test_wheel_says_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    info = f"rewardkit-{rewardkit.__version__}.dist-info"
    metadata = archive.read(f"{info}/METADATA").decode()
    assert {"vllm", "cpu", "dev"} <= {
        line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Provides-Extra")
    }
    points = archive.read(f"{info}/entry_points.txt").decode()
    assert "rewardkit = rewardkit.cli:main" in points
    assert "[vllm.endpoint_plugins]" in points
    assert f"{info}/licenses/LICENSE" in archive.namelist()


def test_installed_package_is_the_wheels(installed, tmp_path):
    code = "import rewardkit, rewardkit.samples as s; print(rewardkit.__file__); print(s.sample_path('gsm8k-train'))"
    module, sample = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert Path(module).is_relative_to(installed.parent)
    assert Path(sample).is_file()
    assert Path(sample).is_relative_to(installed.parent)


def test_console_script_works_from_the_wheel(installed, tmp_path):
    assert run(installed / "rewardkit", "--version", cwd=tmp_path).strip() == rewardkit.__version__
    listed = json.loads(run(installed / "rewardkit", "recipes", "--json", cwd=tmp_path))["recipes"]
    assert [r["name"] for r in listed] == [r.name for r in list_recipes()]
    assert all(Path(r["path"]).is_relative_to(installed.parent) for r in listed)
    first = next(list_recipes())
    assert run(installed / "rewardkit", "recipes", "show", first.name, cwd=tmp_path) == first.path.read_text("utf-8")


def test_recipe_runs_by_name_from_the_wheel(installed, tmp_path):
    """The whole of a small run, with a recipe and a sample that only the wheel can have given."""
    run(installed / "rewardkit", "synth", "gsm8k-replay", "problems.limit=3", "output=out", cwd=tmp_path)
    assert (tmp_path / "out" / "manifest.json").is_file()


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
