"""Generators: where responses come from."""

from __future__ import annotations

from rewardkit.generate.base import (
    FinishReason,
    Generation,
    GenerationRequest,
    Generator,
    GeneratorConfig,
)
from rewardkit.registry import load

__all__ = [
    "GENERATORS",
    "FinishReason",
    "Generation",
    "GenerationRequest",
    "Generator",
    "GeneratorConfig",
    "in_driver",
    "load_generator",
]

GENERATORS = {
    "openai": "rewardkit.generate.openai:OpenAIGenerator",
    "replay": "rewardkit.generate.replay:ReplayGenerator",
    "transformers": "rewardkit.generate.transformers:TransformersGenerator",
    "vision": "rewardkit.generate.vision:VisionGenerator",
    "vllm": "rewardkit.generate.vllm:VllmGenerator",
}
"""From a kind to ``module:Class``; each class is called with a `GeneratorConfig`."""


def in_driver(config: GeneratorConfig) -> bool:
    """Whether a generator belongs where the run is, as its class says: an endpoint (one cache, one budget), a file.

    >>> in_driver(GeneratorConfig(kind="replay")), in_driver(GeneratorConfig(kind="vllm"))
    (True, False)
    """
    return bool(getattr(load(config.kind, GENERATORS, "generator"), "in_driver", False))


def load_generator(config: GeneratorConfig) -> Generator:
    """Make the generator that a config names.

    Raises:
        ConfigError: the kind is unknown, or the generator cannot use the config.

    >>> load_generator(GeneratorConfig(kind="replai"))
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: unknown generator 'replai': did you mean 'replay'? Known: openai, replay, \
transformers, vision, vllm; or path/to/file.py:Name
    """
    generator: Generator = load(config.kind, GENERATORS, "generator")(config)
    return generator
