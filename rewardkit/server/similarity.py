"""How alike two texts are, for ``text_similarity`` graders: from 0 to 1, over words split at white space.

rapidfuzz compares, nltk has BLEU and GLEU; both come with ``pip install 'rewardkit[graders]'``.
"""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

from rewardkit.errors import ConfigError, DataError

MAX_CHARACTERS = 100_000
_NEEDS = {
    "cosine": "an embedding model (OpenAI offers it in evals alone)",
    "meteor": "WordNet's data",
}


def check_metric(metric: str) -> None:
    """Raise unless the metric can be computed here.

    Raises:
        DataError: it needs what a server of reward models does not have.
        ConfigError: its library is not installed.
    """
    if metric in _NEEDS:
        raise DataError(f"'{metric}' needs {_NEEDS[metric]}; take fuzzy_match, bleu, gleu or rouge_*")
    if metric in ("bleu", "gleu"):
        _library("nltk.translate")
    elif metric in ("fuzzy_match", "rouge_l"):
        _library("rapidfuzz")


def similarity(metric: str, text: str, reference: str) -> float:
    """How alike the texts are, 0 to 1; 0 where one of them is empty.

    Args:
        metric: ``fuzzy_match`` (rapidfuzz's ratio, over characters), ``bleu`` (up to 4-grams, nltk's smoothing 1),
            ``gleu``, ``rouge_1`` to ``rouge_5`` and ``rouge_l`` (F1).
        text: what is graded.
        reference: what it is held against.

    Raises:
        DataError, ConfigError: see `check_metric`; or a text is too long.

    >>> similarity("rouge_1", "the cat sat", "the cat ran")
    0.6666666666666666
    """
    check_metric(metric)
    if max(len(text), len(reference)) > MAX_CHARACTERS:
        raise DataError(f"texts of more than {MAX_CHARACTERS} characters are not compared")
    if metric == "fuzzy_match":
        return float(_library("rapidfuzz").fuzz.ratio(text, reference)) / 100
    words, wanted = text.split(), reference.split()
    if not words or not wanted:
        return 0.0
    if metric == "rouge_l":
        common = int(_library("rapidfuzz.distance").LCSseq.similarity(words, wanted))
        return 2 * common / (len(words) + len(wanted))
    if metric == "bleu":
        scores = _library("nltk.translate.bleu_score")
        smoothing = scores.SmoothingFunction().method1
        return float(scores.sentence_bleu([wanted], words, smoothing_function=smoothing))
    if metric == "gleu":
        return float(_library("nltk.translate.gleu_score").sentence_gleu([wanted], words))
    return _rouge(words, wanted, int(metric.removeprefix("rouge_")))


def _rouge(words: list[str], wanted: list[str], n: int) -> float:
    """F1 of the n-grams (Lin 2004)."""
    given, reference = (Counter(zip(*(side[i:] for i in range(n)), strict=False)) for side in (words, wanted))
    total = given.total() + reference.total()
    return 2 * (given & reference).total() / total if total else 0.0


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"this metric needs {name.partition('.')[0]}, which the server lacks: pip install 'rewardkit[graders]'"
        ) from None
