"""What ``import rewardkit`` offers, and that it stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rewardkit

HEAVY = (
    "accelerate", "datasets", "fastapi", "math_verify", "numpy", "pandas", "peft", "pyarrow", "pydantic", "rich",
    "scipy", "sklearn", "sympy", "torch", "transformers", "uvicorn", "vllm", "yaml", "z3",
)  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """The heavy modules that a fresh Python holds after running `code`."""
    check = f"import sys; {code}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", rewardkit.__all__)
def test_each_exported_name_resolves(name):
    assert getattr(rewardkit, name) is not None


def test_all_is_exactly_what_is_exported():
    """Eager names and lazy ones; no submodule, private name or import of ours slips out."""
    ours = {
        name
        for name, value in vars(rewardkit).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name not in ("annotations", "import_module", "Any", "TYPE_CHECKING")
    }
    assert ours | set(rewardkit._LAZY) | {"__version__"} == set(rewardkit.__all__)
    assert list(rewardkit.__all__) == sorted(rewardkit.__all__)
    assert set(rewardkit.__all__) <= set(dir(rewardkit))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_reward_modle'"):
        rewardkit.load_reward_modle  # noqa: B018


def test_version_is_the_one_in_pyproject():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE)[1] == rewardkit.__version__


def test_import_loads_nothing_heavy():
    assert loaded_after("import rewardkit") == set()


def test_building_the_command_line_loads_nothing_heavy():
    """`rewardkit --help` answers at once only as long as this holds; benchmarks/import_time.py has the time."""
    assert loaded_after("import rewardkit.cli, typer.main; typer.main.get_command(rewardkit.cli.build_app())") == set()
