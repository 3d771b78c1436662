"""Progress of a training run: a bar on a terminal, one dense line a log entry elsewhere, both on standard error."""

from __future__ import annotations

import sys
import time
from typing import Any


def use_progress(trainer: Any) -> None:
    """Replace the Trainer's printing of dicts to standard output, which would end up in ``--json``."""
    from transformers import PrinterCallback, TrainerCallback

    class Lines(TrainerCallback):  # type: ignore[misc]  # transformers is lazily imported and untyped here
        """One line an entry: step, loss or evaluation, time left."""

        started = 0.0
        first_step = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started, self.first_step = time.monotonic(), state.global_step

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            if not state.is_world_process_zero or not logs:
                return
            done = state.global_step - self.first_step
            spent = time.monotonic() - self.started
            left = spent / done * (state.max_steps - state.global_step) if done else 0.0
            print(progress_line(state.global_step, state.max_steps, logs, left), file=sys.stderr, flush=True)

    trainer.remove_callback(PrinterCallback)
    if not sys.stderr.isatty():
        trainer.add_callback(Lines())


def stop_after(trainer: Any, seconds: float) -> None:
    """End the training at the first step behind a time limit, with an evaluation and a checkpoint as at its end."""
    from transformers import TrainerCallback

    class TimeLimit(TrainerCallback):  # type: ignore[misc]  # see above
        """Counts from the beginning of this call."""

        started = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            if state.global_step < state.max_steps and _agreed(time.monotonic() - self.started > seconds):
                control.should_training_stop = control.should_evaluate = control.should_save = True
                print(f"step {state.global_step}/{state.max_steps}  the time is up", file=sys.stderr, flush=True)
            return control

    trainer.add_callback(TimeLimit())


def _agreed(here: bool) -> bool:
    """What the first process found, on every process: clocks differ, and all must stop at the same step."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return here
    said = [here]
    dist.broadcast_object_list(said)
    return said[0]


def progress_line(step: int, steps: int, logs: dict[str, Any], seconds_left: float) -> str:
    """One line of progress.

    >>> progress_line(10, 200, {"loss": 0.61, "learning_rate": 3e-4}, 95.0)
    'step 10/200  loss 0.6100  lr 3.0e-04  left 1:35'
    >>> progress_line(100, 200, {"eval_loss": 0.5, "eval_step_auroc": 0.71}, 50.0)
    'step 100/200  eval loss 0.5000  auroc 0.7100  left 0:50'
    """
    parts = [f"step {step}/{steps}"]
    if "loss" in logs:
        parts += [f"loss {float(logs['loss']):.4f}", f"lr {float(logs.get('learning_rate', 0)):.1e}"]
    if "eval_loss" in logs:
        parts.append(f"eval loss {float(logs['eval_loss']):.4f}")
        if "eval_step_auroc" in logs:
            parts.append(f"auroc {float(logs['eval_step_auroc']):.4f}")
    parts.append(f"left {int(seconds_left) // 60}:{int(seconds_left) % 60:02d}")
    return "  ".join(parts)
