"""Losses: each against a computation by hand or by brute force, and what must never change them."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from rewardkit.errors import ConfigError
from rewardkit.train.losses import IGNORE, LOSSES, LossOptions, step_bce_loss
from rewardkit.train.losses.bags import any_wrong_nll, count_nll, log_wrong_counts
from rewardkit.train.losses.pu import nnpu_risk
from rewardkit.train.losses.steps import bce, forward_bce, gce, soft_kl

NOISE = ((0.7, 0.3), (0.1, 0.9))
OPTIONS = {"forward": {"noise": NOISE}, "pu": {"prior": 0.4}, "elr": {"weight": 0.0}}
MEANS = sorted(set(LOSSES) - {"pu"})


def loss_of(name: str):
    return LossOptions(name=name, **OPTIONS.get(name, {})).build()


def batch(rows: int = 8, tokens: int = 12, width: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(rows, tokens, width, generator=draw)).to(dtype).requires_grad_()
    labels = torch.randint(0, 2, (rows, tokens), generator=draw).float()
    labels[torch.rand(rows, tokens, generator=draw) < 0.6] = IGNORE
    return SimpleNamespace(logits=logits), labels


@pytest.mark.parametrize("name", MEANS)
def test_accumulated_parts_give_the_loss_and_the_gradient_of_the_whole(name: str) -> None:
    loss = loss_of(name)
    outputs, labels = batch()
    count = (labels != IGNORE).sum()
    whole = loss(outputs, labels, count)
    gradient = torch.autograd.grad(whole, outputs.logits)[0]
    parts = [loss(SimpleNamespace(logits=outputs.logits[i : i + 2]), labels[i : i + 2], count) for i in (0, 2, 4, 6)]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5)
    torch.testing.assert_close(torch.autograd.grad(sum(parts), outputs.logits)[0], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_rows_without_labels_cost_nothing_and_give_no_nan(name: str) -> None:
    loss = loss_of(name)
    outputs, labels = batch()
    silent = torch.full_like(labels, IGNORE)
    for count in (None, 0, torch.tensor(0)):
        value = loss(outputs, silent, count)
        gradient = torch.autograd.grad(value, outputs.logits)[0]
        assert value.item() == 0.0
        assert gradient.abs().sum().item() == 0.0
    some = torch.cat([labels, silent])
    both = SimpleNamespace(logits=torch.cat([outputs.logits, outputs.logits]))
    assert loss(both, some).item() == pytest.approx(loss(outputs, labels).item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_logits_in_bfloat16_are_computed_in_float32(name: str) -> None:
    loss = loss_of(name)
    half, labels = batch(dtype=torch.bfloat16)
    value = loss(half, labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(SimpleNamespace(logits=half.logits.float()), labels).item(), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name: str) -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    logits = torch.tensor([[[1e4], [1e4], [-1e4], [-1e4]]], requires_grad=True)
    value = loss_of(name)(SimpleNamespace(logits=logits), labels)
    assert math.isfinite(value.item())
    assert torch.isfinite(torch.autograd.grad(value, logits)[0]).all()


@pytest.mark.parametrize("name", LOSSES)
def test_two_logits_are_their_difference(name: str) -> None:
    loss = loss_of(name)
    two, labels = batch(width=2)
    one = SimpleNamespace(logits=two.logits[..., 1:] - two.logits[..., :1])
    assert loss(two, labels).item() == pytest.approx(loss(one, labels).item(), rel=1e-5)


def test_bce_is_the_binary_cross_entropy_for_soft_labels() -> None:
    z, y = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([0.9, 0.2, 1.0])
    by_hand = [-t * math.log(p) - (1 - t) * math.log(1 - p) for p, t in zip(probabilities(z), y.tolist(), strict=True)]
    assert bce(z, y).tolist() == pytest.approx(by_hand, rel=1e-5)


def test_soft_kl_is_the_divergence_and_has_the_gradient_of_cross_entropy() -> None:
    z, y = torch.tensor([0.3, -1.2, 2.0], requires_grad=True), torch.tensor([0.9, 0.2, 1.0])
    p = torch.sigmoid(z.detach())
    assert soft_kl(z, y)[:2].tolist() == pytest.approx(
        (y * (y / p).log() + (1 - y) * ((1 - y) / (1 - p)).log())[:2].tolist(), rel=1e-4
    )
    assert soft_kl(torch.logit(y[:2]), y[:2]).tolist() == pytest.approx([0, 0], abs=1e-6)
    mine, ce = (torch.autograd.grad(f(z, y).sum(), z)[0] for f in (soft_kl, bce))
    torch.testing.assert_close(mine, ce)


def test_gce_is_its_formula_between_cross_entropy_and_absolute_error() -> None:
    z, y = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([1.0, 0.0, 0.25])
    p = torch.sigmoid(z)
    by_hand = y * (1 - p**0.7) / 0.7 + (1 - y) * (1 - (1 - p) ** 0.7) / 0.7
    torch.testing.assert_close(gce(z, y, 0.7), by_hand)
    torch.testing.assert_close(gce(z, y, 1e-4), bce(z, y), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gce(z, y, 1.0), y * (1 - p) + (1 - y) * p)


def test_forward_correction_is_the_likelihood_of_the_given_label() -> None:
    z = torch.tensor([0.3, -1.2])
    p = torch.sigmoid(z)
    torch.testing.assert_close(forward_bce(z, torch.ones(2), NOISE), -(0.9 * p + 0.3 * (1 - p)).log())
    torch.testing.assert_close(forward_bce(z, torch.zeros(2), NOISE), -(0.1 * p + 0.7 * (1 - p)).log())
    torch.testing.assert_close(forward_bce(z, torch.ones(2), ((1, 0), (0, 1))), bce(z, torch.ones(2)))


def test_forward_correction_finds_the_clean_chance_under_noise_where_cross_entropy_does_not() -> None:
    share = 0.8 * 0.9 + 0.2 * 0.3  # labels "right" that noise makes of a chance of 0.8
    y = torch.tensor([1.0] * round(1000 * share) + [0.0] * round(1000 * (1 - share)))
    found = {}
    for name, loss in (("forward", lambda z: forward_bce(z, y, NOISE)), ("bce", lambda z: bce(z, y))):
        z = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.LBFGS([z], max_iter=50)

        def closure(z=z, loss=loss, optimizer=optimizer):
            optimizer.zero_grad()
            value = loss(z.expand(1000)).mean()
            value.backward()
            return value

        optimizer.step(closure)
        found[name] = torch.sigmoid(z).item()
    assert found == pytest.approx({"forward": 0.8, "bce": share}, abs=2e-3)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_counts_of_wrong_steps_are_those_of_every_combination(steps: int) -> None:
    z = torch.randn(1, steps, generator=torch.Generator().manual_seed(steps), dtype=torch.float64)
    found = log_wrong_counts(z, torch.ones(1, steps, dtype=torch.bool)).exp()[0].tolist()
    assert found == pytest.approx(by_enumeration(z[0]), rel=1e-5)


@pytest.mark.parametrize("k", [0, 1, 3, 4])
def test_the_gradient_of_a_count_is_the_posterior_of_each_step(k: int) -> None:
    """d/dz of -log P(k) is a_t - P(t wrong | k), which enumeration gives too."""
    z = torch.tensor([[0.5, -1.0, 2.0, 0.1]], requires_grad=True)
    value = count_nll(z, torch.ones(1, 4, dtype=torch.bool), torch.tensor([k])).sum()
    gradient = torch.autograd.grad(value, z)[0][0]
    a = torch.sigmoid(-z.detach())[0]
    joint, total = [0.0] * 4, 0.0
    for wrong in itertools.product((0, 1), repeat=4):
        if sum(wrong) == k:
            chance = math.prod(p if w else 1 - p for p, w in zip(a.tolist(), wrong, strict=True))
            total += chance
            joint = [j + chance * w for j, w in zip(joint, wrong, strict=True)]
    assert value.item() == pytest.approx(-math.log(total), rel=1e-5)
    assert gradient.tolist() == pytest.approx([j / total - p for j, p in zip(joint, a.tolist(), strict=True)], abs=1e-5)


def test_positions_outside_the_bag_do_not_count() -> None:
    z = torch.tensor([[0.5, -1.0, 9.0], [0.5, -1.0, -9.0]])
    there = torch.tensor([[True, True, False]] * 2)
    assert log_wrong_counts(z, there)[:, :3].exp()[1].tolist() == pytest.approx(by_enumeration(z[0, :2]), rel=1e-5)


def test_counts_of_512_steps_are_finite_and_sum_to_one() -> None:
    z = torch.linspace(-60, 60, 512).unsqueeze(0).requires_grad_()
    counts = log_wrong_counts(z, torch.ones(1, 512, dtype=torch.bool))
    assert counts.logsumexp(dim=1).item() == pytest.approx(0.0, abs=1e-3)
    for k in (0, 256, 512):
        gradient = torch.autograd.grad(-counts[0, k], z, retain_graph=True)[0]
        assert torch.isfinite(gradient).all()
        assert math.isfinite(counts[0, k].item())


def test_at_least_one_wrong_is_that_of_every_combination() -> None:
    z = torch.tensor([[0.5, -1.0, 2.0, 0.1]])
    none = by_enumeration(z[0])[0]
    there = torch.ones(1, 4, dtype=torch.bool)
    assert any_wrong_nll(z, there, torch.tensor([0.0])).item() == pytest.approx(-math.log(1 - none), rel=1e-5)
    mixed = -0.9 * math.log(none) - 0.1 * math.log(1 - none)
    assert any_wrong_nll(z, there, torch.tensor([0.9])).item() == pytest.approx(mixed, rel=1e-5)


def test_at_least_one_wrong_still_pulls_where_every_step_looks_right() -> None:
    z = torch.full((1, 4), 200.0, requires_grad=True)
    value = any_wrong_nll(z, torch.ones(1, 4, dtype=torch.bool), torch.tensor([0.0])).sum()
    assert value.item() == pytest.approx(200 - math.log(4), rel=1e-4)
    assert torch.autograd.grad(value, z)[0].sum().item() == pytest.approx(1.0, rel=1e-4)


def test_a_count_of_none_or_all_is_the_cross_entropy_of_the_steps() -> None:
    outputs, labels = batch()
    for target in (0.0, 1.0):
        same = torch.where(labels != IGNORE, target, IGNORE)
        assert loss_of("count")(outputs, same).item() == pytest.approx(step_bce_loss(outputs, same).item(), rel=1e-5)


def test_a_soft_label_below_a_half_counts_as_wrong() -> None:
    outputs = SimpleNamespace(logits=torch.tensor([[[0.5], [-1.0], [2.0]]]))
    hard, soft = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[0.6, 0.4, 0.9]])
    assert loss_of("count")(outputs, soft) == loss_of("count")(outputs, hard)


def test_a_bag_reads_the_outcome_of_its_row() -> None:
    logits = torch.tensor([[[0.5], [-1.0]], [[2.0], [0.1]]])
    labels = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    right, wrong = by_enumeration(logits[0, :, 0])[0], by_enumeration(logits[1, :, 0])[0]
    by_hand = -0.9 * math.log(right) - 0.1 * math.log(1 - right) - math.log(1 - wrong)
    found = LossOptions(name="any_wrong", all_right=0.9).build()(SimpleNamespace(logits=logits), labels)
    assert found.item() == pytest.approx(by_hand / 4, rel=1e-5)


@pytest.mark.parametrize(("z", "cut"), [((2.0, 1.5, 1.0, 0.5), False), ((3.0, 2.0, -4.0, -5.0), True)])
def test_pu_risk_is_its_formula_and_cut_at_zero(z: tuple[float, ...], cut: bool) -> None:
    y, prior = torch.tensor([1.0, 1.0, 0.0, 0.0]), 0.6
    soft = [math.log1p(math.exp(-v)) for v in z]
    neg = [math.log1p(math.exp(v)) for v in z]
    negative = sum(neg) / 4 - prior * (neg[0] + neg[1]) / 2
    assert (negative < 0) is cut
    by_hand = prior * (soft[0] + soft[1]) / 2 + max(0.0, negative)
    assert nnpu_risk(torch.tensor(z), y, prior).item() == pytest.approx(by_hand, rel=1e-5)


def test_pu_risk_is_cross_entropy_where_every_positive_is_known() -> None:
    z, y = torch.tensor([0.3, -1.2, 2.0, 0.4]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert nnpu_risk(z, y, prior=0.75).item() == pytest.approx(bce(z, y).mean().item(), rel=1e-5)


def test_pu_trusts_the_side_that_it_is_told_to() -> None:
    outputs, labels = batch()
    right = LossOptions(name="pu", prior=0.4).build()(outputs, labels)
    mirrored = torch.where(labels == IGNORE, IGNORE, 1 - labels)
    wrong = LossOptions(name="pu", prior=0.4, trusted="wrong").build()(
        SimpleNamespace(logits=-outputs.logits), mirrored
    )
    assert right.item() == pytest.approx(wrong.item(), rel=1e-6)


def test_class_weights_multiply_each_class() -> None:
    outputs, labels = batch()
    weighted = LossOptions(name="bce", class_weights=(3.0, 0.5)).build()(outputs, labels).item()
    kept = labels != IGNORE
    z, y = outputs.logits[kept].squeeze(-1), labels[kept]
    by_hand = (bce(z, y) * torch.where(y == 1, 0.5, 3.0)).sum() / kept.sum()
    assert weighted == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "gec"}, "did you mean 'gce'"),
        ({"name": "gce", "q": 2}, "less than or equal to 1"),
        ({"name": "gce", "kappa": 0.7}, "unknown key 'kappa'"),
        ({"name": "forward"}, "'noise' is required"),
        ({"name": "forward", "noise": [[0.5, 0.5], [0.5, 0.5]]}, "more often"),
        ({"name": "forward", "noise": [[0.9, 0.3], [0.1, 0.9]]}, "noise must be"),
        ({"name": "bce", "class_weights": "even"}, "or balanced"),
        ({"name": "pu"}, "'prior' is required"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossOptions(**options)


def test_balanced_weights_need_both_classes() -> None:
    with pytest.raises(ConfigError, match="both classes"):
        LossOptions(name="bce", class_weights="balanced").build([1.0, 1.0])


def test_a_loss_of_ones_own(tmp_path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self, scale):\n        self.scale = scale\n")
    name = f"{tmp_path / 'mine.py'}:Mine"
    assert LossOptions(name=name, scale=3).build().scale == 3
    with pytest.raises(ConfigError, match="scale"):
        LossOptions(name=name)


def probabilities(z: torch.Tensor) -> list[float]:
    return torch.sigmoid(z).tolist()


def by_enumeration(z: torch.Tensor) -> list[float]:
    """P(k steps are wrong) for each k, summed over all 2^n combinations."""
    a = torch.sigmoid(-z).tolist()
    chances = [0.0] * (len(a) + 1)
    for wrong in itertools.product((0, 1), repeat=len(a)):
        chances[sum(wrong)] += math.prod(p if w else 1 - p for p, w in zip(a, wrong, strict=True))
    return chances
