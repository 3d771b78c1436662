"""What labelers ask a generator through: made when first needed, its use counted, lost batches turned into errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rewardkit.errors import ServerError
from rewardkit.generate import Generation, GenerationRequest, Generator, GeneratorConfig, in_driver, load_generator
from rewardkit.generate.base import matched
from rewardkit.generate.usage import usage

_LOST = 3  # batches in a row, after which the endpoint is down


class Asker:
    """One or more generators, with one account.

    A request that gets no answer is an error of that request. So is a batch that is lost as a whole, as long as the
    generator has answered before; one that never did, or that loses three batches in a row, stops the run, which can
    go on later.

    Args:
        configs: of the generators, made when they are first asked.
    """

    def __init__(self, configs: Sequence[GeneratorConfig]) -> None:
        self._configs = tuple(configs)
        self._made: dict[int, Generator] = {}
        self._lost = Counter[int]()
        self._answered: set[int] = set()
        self.usage: dict[str, int] = {}
        """What was used over all sittings: ``requests``, ``failed``, ``cached``, ``prompt_tokens``, ..."""

    @property
    def in_driver(self) -> bool:
        """Whether one of the generators must be asked where the run is."""
        return any(in_driver(config) for config in self._configs)

    def resume(self, before: Mapping[str, int]) -> None:
        """Go on with the account of earlier sittings."""
        self.usage = dict(before)

    def ask(self, requests: Sequence[GenerationRequest], which: int = 0) -> list[Generation]:
        """Answer requests, in batches of the generator's size.

        Raises:
            ConfigError: the generator cannot work: a wrong key, the budget reached, answers that do not fit.
            ServerError: it gives no answers.
        """
        size = self._configs[which].batch_size
        answers: list[Generation] = []
        for start in range(0, len(requests), size):
            answers += self._batch(requests[start : start + size], which)
        return answers

    def close(self) -> None:
        """End the generators."""
        for generator in self._made.values():
            close = getattr(generator, "close", None)
            if close is not None:
                close()
        self._made.clear()

    def _batch(self, requests: Sequence[GenerationRequest], which: int) -> list[Generation]:
        generator = self._generator(which)
        try:
            answers = matched(requests, generator.generate(requests), self._configs[which].kind)
            self._answered.add(which)
            self._lost[which] = 0
        except ServerError as error:
            self._lost[which] += 1
            if which not in self._answered or self._lost[which] >= _LOST:
                raise
            model = self._configs[which].model
            answers = [Generation(request.id, "", "error", 0, model, str(error)) for request in requests]
        for name, count in usage(asdict(answer) for answer in answers).items():
            self.usage[name] = self.usage.get(name, 0) + count
        return answers

    def _generator(self, which: int) -> Generator:
        if which not in self._made:
            generator = load_generator(self._configs[which])
            if hasattr(generator, "spent"):  # its budget is that of the run, over all sittings and judges
                generator.spent = self.usage.get("prompt_tokens", 0) + self.usage.get("completion_tokens", 0)
            self._made[which] = generator
        return self._made[which]
