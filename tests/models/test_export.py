"""Exports score like their sources, in all forms; what does not is not kept."""

from __future__ import annotations

import json
import os

import public_models as public
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny import build_tiny_reward_model, build_tiny_tokenizer
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from rewardkit.errors import ConfigError, RewardKitError
from rewardkit.models import RewardModelSpec, load_local_model
from rewardkit.models.export import export_model
from rewardkit.models.noise import check_noise
from rewardkit.models.probes import probe_traces
from rewardkit.models.spec import Noise
from rewardkit.server.kinds import engine_flags

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def scores(folder):
    return [s.scores for s in load_local_model(folder, dtype="float32").score(probe_traces())]


def umask():
    current = os.umask(0o022)
    os.umask(current)
    return current


def assert_same(one, other):
    for mine, theirs in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def add_lora(model, spec, folder, task, **changes):
    """A random adapter as training leaves it: with a trained head for TOKEN_CLS, a tokenizer and the spec."""
    targets = {"target_modules": ["q_proj", "v_proj", "up_proj"], "init_lora_weights": False, "r": 4}
    torch.manual_seed(3)
    peft = get_peft_model(model, LoraConfig(task_type=task, **{**targets, **changes}))
    head = getattr(peft.base_model.model, "score", None)
    if head is not None:
        torch.nn.init.normal_(head.modules_to_save["default"].weight, std=0.3)
    peft.save_pretrained(folder)
    build_tiny_tokenizer().save_pretrained(folder)
    spec.save(folder)
    return peft


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """The adapter's folder, and what it scores with its base, worked out by PEFT alone."""
    root = tmp_path_factory.mktemp("lora")
    base = build_tiny_reward_model(root / "base", num_labels=2)
    model = AutoModelForTokenClassification.from_pretrained(base)
    spec = RewardModelSpec.load(base)
    peft = add_lora(model, spec, root / "adapter", "TOKEN_CLS").eval()
    reader = load_local_model(base)
    expected = []
    for trace in probe_traces():
        item = reader.encode(trace)
        with torch.no_grad():
            logits = peft(input_ids=torch.tensor([item.input_ids])).logits[0, list(item.positions)]
        expected.append(logits.softmax(-1)[:, 1].tolist())
    return root / "adapter", expected


def test_an_adapter_is_merged_with_its_head(lora, tmp_path):
    adapter, expected = lora
    done = export_model(adapter, tmp_path / "out")
    assert done.difference < 1e-4 and done.positions == sum(map(len, expected))
    assert_same(scores(tmp_path / "out"), expected)
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"], "no working folder is left"
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert set(modes.values()) == {0o666 & ~umask()}, "a server that runs as another user reads it"


def test_an_adapter_is_parted_from_its_head(lora, tmp_path):
    adapter, expected = lora
    export_model(adapter, tmp_path / "out", {"form": "adapter"})
    names = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors").keys()
    assert names and all(".lora_" in name for name in names), "the backbone alone"
    assert json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())["modules_to_save"] is None
    base = load_local_model(tmp_path / "out" / "base")
    base.model = PeftModel.from_pretrained(base.model, tmp_path / "out" / "adapter").eval()
    assert_same([s.scores for s in base.score(probe_traces())], expected)


def test_training_leaves_an_adapter_inside_its_folder(lora, tmp_path):
    """The spec then lies one folder up, and the merged model beside it."""
    adapter, expected = lora
    run = tmp_path / "run"
    export_model(adapter, run)
    (run / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (run / "adapter" / name).write_bytes((adapter / name).read_bytes())
    export_model(run / "adapter", tmp_path / "merged")
    assert_same(scores(tmp_path / "merged"), expected)
    export_model(run, tmp_path / "parted", {"form": "adapter"})
    assert (tmp_path / "parted" / "adapter" / "adapter_config.json").is_file()


def test_a_value_head_becomes_one_that_vllm_reads(tmp_path):
    source = public.skywork_o1(tmp_path / "skywork")
    with pytest.raises(ConfigError, match="does not read the value head.*rewardkit export"):
        engine_flags(source, RewardModelSpec.load(source))
    export_model(source, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForTokenClassification"] and len(config["id2label"]) == 1
    assert engine_flags(tmp_path / "out", RewardModelSpec.load(tmp_path / "out")) == {}
    assert_same(scores(tmp_path / "out"), scores(source))


def test_a_public_model_gets_its_file_and_may_be_named(tmp_path):
    source = public.llama_causal(tmp_path / "downloaded")
    with pytest.raises(ConfigError, match="no public model known here"):
        export_model(source, tmp_path / "out")
    done = export_model(source, tmp_path / "out", {"preset": "rlhflow-prm"})
    assert done.spec.kind == "generative" and (tmp_path / "out" / "reward_model.json").is_file()
    with pytest.raises(ConfigError, match="there is no preset 'x'; there are: qwen2.5-math-prm"):
        export_model(source, tmp_path / "other", {"preset": "x"})


def test_an_implicit_model_is_published_with_its_noise(tmp_path):
    policy, reference = public.qwen_causal(tmp_path / "EurusPRM"), public.qwen_causal(tmp_path / "base", seed=9)
    noise = export_model(policy, tmp_path / "out", {"reference": str(reference)}).spec.noise
    assert noise is not None and 0 < noise.spread < noise.signal and noise.responses == 8
    assert RewardModelSpec.load(tmp_path / "out").noise == noise


def test_an_implicit_adapter_is_merged(tmp_path):
    base = build_tiny_lm(tmp_path / "base")
    spec = RewardModelSpec(kind="implicit", beta=0.05, reference=str(base))
    peft = add_lora(AutoModelForCausalLM.from_pretrained(base), spec, tmp_path / "adapter", "CAUSAL_LM")
    export_model(tmp_path / "adapter", tmp_path / "out")
    ids = torch.tensor([[9, 8, 7, 6]])
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(ids).logits
        assert torch.allclose(merged, peft.eval()(ids).logits, atol=1e-4)


def test_what_scores_otherwise_is_not_kept(lora, tmp_path, monkeypatch):
    adapter, _ = lora

    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self, **options: self.unload(), raising=False)
    with pytest.raises(RewardKitError, match="differ by .* nothing was kept"):
        export_model(adapter, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(lora, tmp_path, monkeypatch):
    monkeypatch.setattr(RewardModelSpec, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        export_model(lora[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_vllm_does_not_take_beside_a_model_is_refused(lora, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    for path in lora[0].iterdir():
        (odd / path.name).write_bytes(path.read_bytes())
    config = json.loads((odd / "adapter_config.json").read_text())
    (odd / "adapter_config.json").write_text(json.dumps({**config, "lora_bias": True}))
    weights = load_file(odd / "adapter_model.safetensors")
    save_file(
        {**weights, "base_model.model.lm_head.lora_A.weight": torch.zeros(4, 4)}, odd / "adapter_model.safetensors"
    )
    with pytest.raises(ConfigError, match=r"does not fit|vLLM takes no adapter with lora_bias"):
        export_model(odd, tmp_path / "out", {"form": "adapter"})
    plain = build_tiny_reward_model(tmp_path / "plain")
    with pytest.raises(ConfigError, match="holds no LoRA adapter"):
        export_model(plain, tmp_path / "out", {"form": "adapter"})


def test_an_export_never_writes_over_anything(lora, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        export_model(lora[0], tmp_path / "out")


def test_an_implicit_model_in_bfloat16_is_warned_of_or_refused():
    spec = RewardModelSpec(kind="implicit", beta=1.0, reference="none")
    with pytest.warns(UserWarning, match="not known; `rewardkit export` measures it"):
        check_noise(spec, "bfloat16", "prm")
    check_noise(spec.model_copy(update={"noise": Noise(spread=0.1, signal=2.0, responses=8)}), "bfloat16", "prm")
    drowned = spec.model_copy(update={"noise": Noise(spread=2.0, signal=2.0, responses=8)})
    with pytest.raises(ConfigError, match="drowns in rounding"):
        check_noise(drowned, "bfloat16", "prm")
    check_noise(drowned, "auto", "prm")
