"""Where in a language model does it stand whether a step is right: in which layer, and at which token?

    python benchmarks/step_states.py [--quick] [--layers 15 20 25 29] [--separators '<file_sep>' newline]

A logistic regression on frozen hidden states of SmolLM2-135M-Instruct, trained on arithmetic labels of some problems
and measured on others: at the separator behind the step, where a token head reads; at the step's last token; and the
mean over the step. What the separator of the last layer lacks is what training must first bring there.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rewardkit.evaluate.bootstrap import bootstrap
from rewardkit.evaluate.features import load_layers
from rewardkit.evaluate.robustness.data import truths
from rewardkit.evaluate.steps import step_auroc
from rewardkit.models.cpu import multiplies_bfloat16
from rewardkit.models.embedded import resolve_model
from rewardkit.models.local import length_batches
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.text.encode import EncodedSteps, encode_prompt, encode_steps, find_separator, plain_ids
from rewardkit.train.data import held_out
from rewardkit.train.run import load_tokenizer

MODEL = "smollm2-135m-instruct"
PLACES = ("separator", "last token", "mean")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="few short traces, lower layers")
    options.add_argument("--layers", type=int, nargs="+", default=[15, 20, 25, 29])
    options.add_argument("--separators", nargs="+", default=["<file_sep>", "newline"])
    options.add_argument("--train", type=int, default=130, help="traces")
    options.add_argument("--test", type=int, default=70, help="traces of other problems")
    options.add_argument("--max-length", type=int, default=230)
    args = options.parse_args()
    if args.quick:
        args.train, args.test, args.layers, args.separators, args.max_length = 16, 16, [2, 4], ["<file_sep>"], 150
    base = resolve_model(MODEL)
    tokenizer = load_tokenizer(base)
    model = load_layers(base, max(args.layers), "bfloat16" if multiplies_bfloat16() else "float32")
    rows = load_traces("sample:formal-traces").rows
    rows = [r for r in rows if r.trace.meta["family"] == "gsm8k" and truths(r, ("arithmetic",))]
    rows = [r for r in rows if len(encode(tokenizer, r, 0)) <= args.max_length]
    chance = random.Random(0)
    train = chance.sample([r for r in rows if not held_out(r.trace.problem.id, 0.25)], args.train)
    test = chance.sample([r for r in rows if held_out(r.trace.problem.id, 0.25)], args.test)
    for name in args.separators:
        separator = plain_ids(tokenizer, "\n")[0] if name == "newline" else find_separator(tokenizer, name)[1]
        parts = [states(model, part, tokenizer, separator, args.layers) for part in (train, test)]
        for place in PLACES:
            for layer in args.layers:
                print(
                    f"separator {name}, {place}, layer {layer}: {probed(parts, train, test, place, layer)}", flush=True
                )


def encode(tokenizer: object, row: LabelledTrace, separator: int) -> EncodedSteps:
    return encode_steps(tokenizer, row.trace.problem.prompt, [step.text for step in row.trace.steps], separator)


def states(
    model: torch.nn.Module, rows: list[LabelledTrace], tokenizer: object, separator: int, layers: Sequence[int]
) -> list[dict[tuple[str, int], np.ndarray]]:
    """Of each trace, by place and layer, an array of shape (steps, width)."""
    texts = [encode(tokenizer, row, separator) for row in rows]
    prompts = [len(encode_prompt(tokenizer, row.trace.problem.prompt)) for row in rows]
    made: list[dict[tuple[str, int], np.ndarray]] = [{} for _ in texts]
    for batch in length_batches([len(text) for text in texts], 2048):
        ids = torch.zeros(len(batch), max(len(texts[i]) for i in batch), dtype=torch.long)
        for row, i in enumerate(batch):
            ids[row, : len(texts[i])] = torch.tensor(texts[i].input_ids)
        with torch.inference_mode():
            hidden = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        for row, i in enumerate(batch):
            ends = texts[i].positions
            starts = [prompts[i], *(end + 1 for end in ends[:-1])]
            for layer in layers:
                values = hidden[layer][row].float().numpy()
                made[i]["separator", layer] = values[list(ends)]
                made[i]["last token", layer] = values[[end - 1 for end in ends]]
                means = [values[a : b + 1].mean(0) for a, b in zip(starts, ends, strict=True)]
                made[i]["mean", layer] = np.stack(means)
    return made


def probed(
    parts: Sequence[list[dict[tuple[str, int], np.ndarray]]],
    train: list[LabelledTrace],
    test: list[LabelledTrace],
    place: str,
    layer: int,
) -> str:
    """The AUROC on the test's steps with its interval over problems."""
    (features, labels, _), (others, truth, problems) = (
        labelled(found, rows, place, layer) for found, rows in zip(parts, (train, test), strict=True)
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=1000)).fit(features, labels)
    found = bootstrap(step_auroc, [probe.decision_function(others), truth], problems, n=500)
    return "none" if found.value is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def labelled(
    found: list[dict[tuple[str, int], np.ndarray]], rows: list[LabelledTrace], place: str, layer: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, truth and problem of every labelled step."""
    steps = [(i, step, value) for i, row in enumerate(rows) for step, value in truths(row, ("arithmetic",)).items()]
    features = np.stack([found[i][place, layer][step] for i, step, _ in steps])
    problems = np.array([rows[i].trace.problem.id for i, *_ in steps])
    return features, np.array([value for *_, value in steps]), problems


if __name__ == "__main__":
    main()
