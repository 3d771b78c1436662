"""The `rank` labeler: a listwise ranking is worth what ReasonRank's views say of it (arXiv 2508.07050)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.rewards.base import Group
from rewardkit.rewards.reasonrank import reasonrank
from rewardkit.types import Meaning, StepLabel, Trace

RBO = 0.1  # of the reward; NDCG@10 has 1, Recall@10 0.2
MOST = 1.3
VIEWS = ("ndcg10", "recall10", "rbo")


class RankLabeler:
    """Labels the last step of a ranking with its reward, as a share of the most that it can be, and with each view.

    Labels of source ``rank`` are (NDCG@10 + 0.2 Recall@10 + 0.1 RBO) / 1.3, and ``rank:ndcg10``, ``rank:recall10`` and
    ``rank:rbo`` (rank-biased overlap with the gold order) are the views. They are shares, not chances to be right. What
    is no order of all documents is 0 in ``rank``, and the views abstain; without a gold order RBO abstains, and the
    reward is that of the other two. A trace that is no ranking (no ``meta["ranking"]``) gets None.

    Rankings that are good enough are kept by `rewardkit.labels.keep`: ReasonRank's filter is ``rank:ndcg10`` above 0.4.

    >>> from rewardkit.problems.ranking import ranking_problem
    >>> problem = ranking_problem({"query": "q", "documents": ["a", "b"], "relevant_docids": ["2"]})
    >>> text = "<think>b fits.</think><answer>[1] > [2]</answer>"
    >>> for label in RankLabeler().label_group([Trace.create(problem, [text], meta=problem.meta)]):
    ...     print(label.source, label.p_correct and round(label.p_correct, 2), label.evidence)
    rank 0.69 NDCG@10 0.63, Recall@10 1.00
    rank:ndcg10 0.63 NDCG@10 0.63
    rank:recall10 1.0 Recall@10 1.00
    rank:rbo None no gold order
    """

    name = "rank"
    meaning: Meaning = "value"
    unit = 256

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """A label of the reward and one of each view for the last step of every trace that has one."""
        return [label for trace in traces if trace.steps for label in self._labels(trace)]

    def _labels(self, trace: Trace) -> Iterator[StepLabel]:
        last = len(trace.steps) - 1
        ranking = trace.meta.get("ranking")
        try:
            if not isinstance(ranking, Mapping):
                raise DataError("nothing to rank: the trace has no ranking in its meta")
            reward, views = score(trace, ranking)
        except DataError as error:
            yield StepLabel(trace.id, last, None, self.name, self.meaning, str(error))
            return
        told = ", ".join(f"{_NAMES[view]} {value:.2f}" for view, value in views.items())
        yield StepLabel(trace.id, last, reward, self.name, self.meaning, told or _no_order(trace))
        for view in VIEWS:
            value = views.get(view)
            missing = "no gold order" if views else "no ranking"
            evidence = missing if value is None else f"{_NAMES[view]} {value:.2f}"
            yield StepLabel(trace.id, last, value, f"{self.name}:{view}", self.meaning, evidence)


_NAMES = {"ndcg10": "NDCG@10", "recall10": "Recall@10", "rbo": "RBO"}


def score(trace: Trace, ranking: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """A ranking's reward as a share of the most, and its views; none where it is no order of all documents.

    Args:
        trace: whose response ends with ``<answer>[2] > [1]</answer>`` behind its thoughts.
        ranking: ``initial_list`` and ``relevant_docids``, see `rewardkit.problems.ranking`.

    Raises:
        DataError: the ranking lacks one of them, or a relevant document.
    """
    ids = ranking.get("initial_list")
    if not isinstance(ids, list) or not isinstance(ranking.get("relevant_docids"), list):
        raise DataError("meta['ranking'] lacks initial_list or relevant_docids")
    gold = trace.problem.answer
    order = gold or " > ".join(f"[{i}]" for i in range(1, len(ids) + 1))  # any: it only says which numbers there are
    result = reasonrank(Group.create(trace.id, [trace.response], reference=order, meta=dict(ranking)))
    views = dict(result.stats)
    reward, most = max(0.0, result.rewards[0] or 0.0), MOST
    if not gold and views:
        reward, most = reward - RBO * views.pop("rbo"), MOST - RBO
    return min(1.0, max(0.0, reward / most)), {view: min(1.0, value) for view, value in views.items()}


def _no_order(trace: Trace) -> str:
    tagged = "<answer>" in trace.response
    return "no order of all documents" if tagged else "no <think> and <answer>"
