"""An implicit process reward model: two language models, whose log-ratio over the tokens of a step is its reward.

Yuan et al., "Free Process Rewards without Process Labels" (arXiv 2412.01981): after training on outcomes alone,
``q_t = beta * (log pi(y_1..t) - log pi_ref(y_1..t))`` is how well a response stands at the end of step t, and
``r_t = q_t - q_(t-1)`` what that step added.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from rewardkit.errors import ConfigError
from rewardkit.models.embedded import quiet_transformers, resolve_model
from rewardkit.models.local import LocalRewardModel, length_batches
from rewardkit.models.logprobs import base_logprobs, log_ratios, pad_responses, require_plain_head, response_logprobs
from rewardkit.models.noise import check_noise
from rewardkit.models.spec import NO_REFERENCE, RewardModelSpec
from rewardkit.text.encode import EncodedResponse, EncodedSteps


class ImplicitRewardModel(LocalRewardModel):
    """Scores each step by the log-ratio of policy and reference over its tokens.

    `score` gives ``raw``, the step rewards r_t, and ``scores``, calibrated probabilities of r_t or of q_t: the spec's
    ``step_score`` says which.

    Args:
        model: the policy, a causal language model.
        tokenizer: of the policy.
        spec: its ``beta`` and ``reference`` must be set.
        reference: a causal language model of the same vocabulary. None takes the policy with its adapters off, or no
            reference where the spec's is ``none``.
        batch_tokens: the most tokens, padding included, in one forward pass.

    Raises:
        ConfigError: the spec lacks something, there is no reference, or a head is no plain linear layer.
    """

    kind = "implicit"

    def __init__(
        self, model: Any, tokenizer: Any, spec: RewardModelSpec, *, reference: Any = None, batch_tokens: int = 8192
    ) -> None:
        super().__init__(model, tokenizer, spec, batch_tokens=batch_tokens)
        if reference is not None:
            self.reference: Any = partial(response_logprobs, reference.eval())
        elif spec.reference == NO_REFERENCE:
            self.reference = None
        elif hasattr(model, "disable_adapter"):
            self.reference = partial(base_logprobs, model)
        else:
            raise ConfigError(f"the reference '{spec.reference}' is not loaded; reference=none does without one")
        require_plain_head(model)

    @classmethod
    def check_spec(cls, spec: RewardModelSpec) -> None:
        super().check_spec(spec)
        if spec.beta is None or spec.reference is None:
            raise ConfigError("an implicit reward model needs beta and reference in its reward_model.json")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 8192,
        reference: str | None = None,
        check_rounding: bool = True,
    ) -> Self:
        """Load a folder that `rewardkit train` wrote, and its reference.

        Args:
            folder: a plain Hugging Face checkpoint with ``reward_model.json``. Where it holds the ``adapter`` that it
                was trained as, one model is loaded: with the adapter it is the policy, without it the reference.
            device: as for any kind.
            dtype: None takes float32 on every device, since rounding moves a log-ratio by about as much as it is.
            batch_tokens: as for any kind.
            reference: a folder or Hub id in place of the spec's, or ``none``: half the work, and no longer the reward
                that it was trained for.
            check_rounding: whether `rewardkit.models.noise.check_noise` may warn or refuse.

        Raises:
            ConfigError: no such folder, no spec, weights or a reference that cannot be loaded, or values that drown in
                the rounding of `dtype`.
        """
        import torch
        from transformers import AutoTokenizer

        spec = RewardModelSpec.load(folder)
        if reference is not None:
            spec = spec.model_copy(update={"reference": reference})
        cls.check_spec(spec)
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        precision = dtype or "float32"
        if check_rounding:
            check_noise(spec, precision, folder)
        shared = (Path(folder) / "adapter").is_dir() and reference is None
        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(str(folder))
                model = cls.load_weights(str(folder), spec, precision) if shared else _causal(str(folder), precision)
                apart = not shared and spec.reference != NO_REFERENCE
                other = _causal(resolve_model(str(spec.reference)), precision).to(place) if apart else None
        except (OSError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            hint = f"{folder} and its reference '{spec.reference}' cannot be loaded (reference=FOLDER names another)"
            raise ConfigError(f"{hint}: {reason}") from error
        return cls(model.to(place), tokenizer, spec, reference=other, batch_tokens=batch_tokens)

    @classmethod
    def load_weights(cls, folder: str, spec: RewardModelSpec, dtype: str) -> Any:
        """The reference with the policy as its adapter."""
        from peft import PeftModel

        base = _causal(resolve_model(str(spec.reference)), dtype)
        return PeftModel.from_pretrained(base, str(Path(folder) / "adapter"))

    def token_rewards(self, responses: Sequence[tuple[Sequence[int], int]]) -> list[np.ndarray]:
        """The reward of each token of each response, ``beta * log(pi / pi_ref)``: what an RL loop is given.

        Args:
            responses: token ids, prompt included, and the index where the response starts.

        Returns:
            One float32 array of shape (response tokens,) a response, in the order given.
        """
        import torch

        results: list[np.ndarray] = [np.empty(0, np.float32)] * len(responses)
        for indices in length_batches([len(ids) for ids, _ in responses], self.batch_tokens):
            batch = pad_responses([responses[i] for i in indices], self.model.device)
            with torch.inference_mode():
                ratios = log_ratios(self.model, batch, self.reference).cpu().numpy()
            for i, row in zip(indices, ratios, strict=True):
                ids, start = responses[i]
                results[i] = self._beta * row[start : len(ids)]
        return results

    def logits(self, batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
        """q_t at the end of each step: one float64 array of shape (steps, 1) for each input, in the order given."""
        encoded = cast("Sequence[EncodedResponse]", batch)
        rewards = self.token_rewards([(item.input_ids, item.start) for item in encoded])
        return [sums_at(item, values)[:, None] for item, values in zip(encoded, rewards, strict=True)]

    @property
    def _beta(self) -> float:
        assert self.spec.beta is not None
        return self.spec.beta


def sums_at(encoded: EncodedResponse, values: np.ndarray) -> np.ndarray:
    """The sum of the values of a response's tokens up to the end of each step, shape (steps,), float64.

    >>> sums_at(EncodedResponse((7, 8, 9, 5), (1, 3), 1), np.array([1.0, 2.0, 4.0])).tolist()
    [1.0, 7.0]
    """
    sums: np.ndarray = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends: np.ndarray = sums[np.array(encoded.positions) + 1 - encoded.start]
    return ends


def _causal(name: str, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
