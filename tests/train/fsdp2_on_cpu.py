"""`rewardkit ARGUMENTS` under FSDP2 on CPU processes (gloo), which accelerate does not offer: it shards on GPUs alone.

A stand-in for GPUs: accelerate is told that its processes have them, and is given the CPU as their device. The rest is
real: accelerate's plugin from the environment, torch's ``fully_shard``, and the gathering of the saved model.

    torchrun --nproc_per_node=2 tests/train/fsdp2_on_cpu.py train prm ...       with accelerate's FSDP_* variables
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from rewardkit.cli import main


def backend(self: PartialState, *given: Any) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


def set_device(self: PartialState) -> None:
    self.device = torch.device("cpu")


if __name__ == "__main__":
    PartialState._prepare_backend = backend
    PartialState.set_device = set_device
    torch.distributed.init_process_group("gloo")
    main()
