"""Write a reward model as vLLM and transformers take it, and call it done only when both score the same.

``merged``   one plain checkpoint: a LoRA adapter in its base, a value head as a token-classification head, a public
             model with its ``reward_model.json``
``adapter``  the base with the trained head in ``base``, and in ``adapter`` an adapter of the backbone alone, which is
             what vLLM takes beside it

The folder appears under its name only when it is whole and checked.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rewardkit.config import Config, validate
from rewardkit.errors import ConfigError, RewardKitError
from rewardkit.models import model_class
from rewardkit.models.convert import base_name, dtype_of, lora_base, plain_model, strip_adapter, value_head_model
from rewardkit.models.embedded import quiet_transformers
from rewardkit.models.heads import has_value_head
from rewardkit.models.local import LocalRewardModel
from rewardkit.models.noise import measure_noise
from rewardkit.models.presets import preset_spec
from rewardkit.models.probes import probe_traces
from rewardkit.models.spec import FILE, NO_REFERENCE, RewardModelSpec
from rewardkit.models.weights import share_weights
from rewardkit.text.encode import EncodedSteps

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.1}
"""How far a logit may move, by the type that is written: both sides are scored in float32, what is left is rounding."""


class ExportConfig(Config):
    """Options of `export_model`.

    Attributes:
        form: ``merged`` or ``adapter``.
        base: of an adapter, a folder or Hub id in place of the one that it names.
        preset: a key of `rewardkit.models.presets.PRESETS`, where the folder's name does not tell.
        reference: of an implicit model, in place of the one that it names.
        dtype: of what is written; ``auto`` keeps the base's.
        device: for the check.
        tolerance: how far a logit may move; None takes `TOLERANCE`.
    """

    form: Literal["merged", "adapter"] = "merged"
    base: str | None = None
    preset: str | None = None
    reference: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        folder: that holds it.
        spec: its ``reward_model.json``.
        difference: the largest by which a logit differs from the source's, both in float32.
        positions: how many were compared.
    """

    folder: Path
    spec: RewardModelSpec
    difference: float
    positions: int


def export_model(model: str | Path, output: str | Path, values: Mapping[str, Any] | None = None) -> Exported:
    """Export a model folder, see the module's head.

    Args:
        model: a folder: a checkpoint, a public model, or a LoRA adapter with its head.
        output: the folder to write; it must not exist.
        values: keys of `ExportConfig`.

    Raises:
        ConfigError: the model cannot be read, the form does not fit it, or `output` exists.
        RewardKitError: the export scores otherwise than the model; nothing is left of it.
    """
    config = validate(ExportConfig, dict(values or {}), "export")
    source, target = Path(model), Path(output)
    if target.exists():
        raise ConfigError(f"{target} exists; name a folder that does not")
    spec = _spec(source, config)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        encoded, expected = _write(source, work, spec, config)
        difference = _difference(_reopened(work, spec, config), encoded, expected)
        _require_same(difference, _written_dtype(work), config)
        spec = _with_noise(work, spec, config)
        work.chmod(0o755)
        work.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Exported(target, spec, difference, sum(len(rows) for rows in expected))


def _spec(source: Path, config: ExportConfig) -> RewardModelSpec:
    """The folder's own, a preset's, or that of the training run whose adapter it is."""
    if config.preset is not None:
        spec = preset_spec(config.preset, source)
    elif not (source / FILE).is_file() and (source.parent / FILE).is_file() and _is_adapter(source):
        spec = RewardModelSpec.load(source.parent)
    else:
        spec = RewardModelSpec.load(source)
    if config.reference is not None:
        spec = spec.model_copy(update={"reference": config.reference})
    model_class(spec.kind).check_spec(spec)
    return spec


def _write(
    source: Path, work: Path, spec: RewardModelSpec, config: ExportConfig
) -> tuple[list[EncodedSteps], list[np.ndarray]]:
    """Score the source on the probes, then write it; the inputs and what it gave."""
    import torch
    from transformers import AutoTokenizer

    with quiet_transformers():
        adapter = _adapter_of(source, config)
        origin = str(source) if adapter is None else base_name(adapter, config.base)
        peft = None if adapter is None else lora_base(adapter, spec, origin)
        model = plain_model(source, spec) if peft is None else peft.get_base_model()
        named = source if (source / "tokenizer_config.json").is_file() else source.parent
        tokenizer: Any = AutoTokenizer.from_pretrained(str(named))
        scorer = _scorer(value_head_model(source) if _is_value_head(source) else model, tokenizer, spec, config)
        encoded = [scorer.encode(trace) for trace in probe_traces()]
        expected = scorer.logits(encoded)
        if peft is not None and config.form == "adapter":
            assert adapter is not None
            strip_adapter(adapter, work / "adapter")
            spec.save(work / "adapter")
            model = peft.unload()
        elif peft is not None:
            model = peft.merge_and_unload()
        base = work / "base" if config.form == "adapter" else work
        kept = dtype_of(origin) if config.dtype == "auto" else config.dtype
        # transformers gives weights that it renamed while loading their old names again, a value head's too.
        renamed = peft is None and _is_value_head(source)
        model.to(getattr(torch, kept)).save_pretrained(base, save_original_format=not renamed)
        tokenizer.save_pretrained(base)
        spec.save(base)
        share_weights(work)
    return encoded, expected


def _adapter_of(source: Path, config: ExportConfig) -> Path | None:
    """The adapter's folder: the source itself, or the one that training left inside a merged model.

    Raises:
        ConfigError: the form ``adapter`` of what has none.
    """
    if _is_adapter(source):
        return source
    if config.form == "merged":
        return None
    if _is_adapter(source / "adapter"):
        return source / "adapter"
    raise ConfigError(f"{source} holds no LoRA adapter; form=merged writes it as one checkpoint")


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _is_value_head(folder: Path) -> bool:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return has_value_head(folder, config.get("architectures") or ())


def _scorer(model: Any, tokenizer: Any, spec: RewardModelSpec, config: ExportConfig) -> LocalRewardModel:
    """A model of the spec's kind; of an implicit one the policy alone, in nats, since the reference is not written."""
    if spec.kind == "implicit":
        spec = spec.model_copy(update={"reference": NO_REFERENCE, "beta": 1.0})
    place = model if config.device is None else model.to(config.device)
    return model_class(spec.kind)(place, tokenizer, spec)


def _reopened(work: Path, spec: RewardModelSpec, config: ExportConfig) -> LocalRewardModel:
    """What was written, as anyone would load it, in float32."""
    from transformers import AutoTokenizer

    with quiet_transformers():
        if config.form == "merged":
            tokenizer: Any = AutoTokenizer.from_pretrained(str(work))
            return _scorer(plain_model(work, spec), tokenizer, spec, config)
        tokenizer = AutoTokenizer.from_pretrained(str(work / "base"))
        peft = lora_base(work / "adapter", spec, str(work / "base"))
        return _scorer(peft.get_base_model(), tokenizer, spec, config)


def _difference(model: LocalRewardModel, encoded: Sequence[EncodedSteps], expected: Sequence[np.ndarray]) -> float:
    again = [model.encode(trace) for trace in probe_traces()]
    if again != list(encoded):
        raise RewardKitError("the exported tokenizer reads the probes otherwise than the model's own; nothing was kept")
    return max(float(np.abs(a - b).max()) for a, b in zip(model.logits(again), expected, strict=True))


def _require_same(difference: float, dtype: str, config: ExportConfig) -> None:
    limit = TOLERANCE.get(dtype, TOLERANCE["float32"]) if config.tolerance is None else config.tolerance
    if not difference <= limit:  # NaN too
        raise RewardKitError(
            f"the export gives logits that differ by {difference:.3g} from the model's, "
            f"and in {dtype} at most {limit:g} is taken; nothing was kept"
        )


def _written_dtype(work: Path) -> str:
    path = next(p for p in (work / "config.json", work / "base" / "config.json") if p.is_file())
    config = json.loads(path.read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _with_noise(work: Path, spec: RewardModelSpec, config: ExportConfig) -> RewardModelSpec:
    """The spec with what bfloat16 does to an implicit model, where its reference is at hand."""
    if spec.kind != "implicit" or config.form == "adapter":
        return spec
    noise = measure_noise(work, probe_traces(), device=config.device)
    spec = spec.model_copy(update={"noise": noise})
    spec.save(work)
    return spec
