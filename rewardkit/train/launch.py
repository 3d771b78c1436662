"""Start a training on several processes, GPUs or machines, through `accelerate launch` and a profile.

rewardkit train prm-gsm8k --accelerate cpu --processes 2
accelerate launch --config_file recipes/accelerate/gpu-ddp.yaml -m rewardkit train prm-gsm8k      # the same, by hand
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rewardkit.config import read_yaml, shipped
from rewardkit.errors import ConfigError


def launch(profile: str, arguments: Sequence[str], processes: int | None = None) -> int:
    """Run ``rewardkit ARGUMENTS`` under accelerate and give its exit code.

    Args:
        profile: a path, or the name of a shipped profile; see `profiles`.
        arguments: of the command, such as ``["train", "prm-gsm8k"]``.
        processes: how many; None takes the profile's number.

    Raises:
        ConfigError: there is no such profile.
    """
    path = find_profile(profile)
    command = [*_launcher(path, processes), "-m", "rewardkit", *arguments]
    return subprocess.run(command, check=False).returncode


def _launcher(path: Path, processes: int | None) -> list[str]:
    """accelerate's launcher; for the CPU torchrun, since accelerate starts several CPU processes through MPI alone.

    DeepSpeed's processes it starts through torchrun itself.
    """
    settings = read_yaml(path)
    if settings.get("use_cpu") and settings.get("distributed_type") != "DEEPSPEED":
        number = processes or settings.get("num_processes", 1)
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={number}"]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path)]
    return command if processes is None else [*command, "--num_processes", str(processes)]


def profiles() -> dict[str, Path]:
    """The shipped profiles of accelerate, by name.

    >>> sorted(profiles())
    ['cpu', 'deepspeed-zero3', 'fsdp2', 'gpu', 'gpu-ddp', 'two-nodes']
    """
    return {path.stem: path for path in sorted((shipped("recipes") / "accelerate").glob("*.yaml"))}


def find_profile(name: str) -> Path:
    """The file of a profile.

    Raises:
        ConfigError: it is no file and no shipped profile; the nearest is named.
    """
    known = profiles()
    if Path(name).is_file() or name in known:
        return known.get(name, Path(name))
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"shipped are {', '.join(known)}"
    raise ConfigError(f"there is no accelerate profile '{name}': {hint}")


def is_first_process() -> bool:
    """Whether this process is the one that prints: the first of those that a launcher started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def leave_group() -> None:
    """Close the connections between the processes of this run, if there are several.

    A process that ends with them open may abort in the destructor of one of their threads; its launcher then ends the
    others, of which the first may still be writing the model.
    """
    if launched_processes() > 1:
        import torch.distributed as distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def launched_processes() -> int:
    """How many processes a launcher started, this one among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def shards_weights() -> bool:
    """Whether the profile is one of FSDP or DeepSpeed, under which no process has to hold the whole weights."""
    return "true" in (os.environ.get("ACCELERATE_USE_FSDP"), os.environ.get("ACCELERATE_USE_DEEPSPEED"))


def deepspeed_computes_bfloat16() -> bool:
    """Whether the profile lets DeepSpeed compute in bfloat16, of which the Trainer must be told by its own argument."""
    given = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false"), os.environ.get("ACCELERATE_MIXED_PRECISION")
    return given == ("true", "bf16")
