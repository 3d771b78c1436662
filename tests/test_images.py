"""Images of problems: what is opened, what is refused, and that nothing is lost on the way to disk and back."""

from __future__ import annotations

import base64
import json

import pytest
from tinyvl import png

from rewardkit.errors import DataError
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.images import MOST_BYTES, check_chat, image_fault, images_of, media_type, read_images, with_images
from rewardkit.store import LabelledTrace, load_problems, load_traces, read_dataset, write_dataset
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem, Trace

GIF = b"GIF89a;"
URL = "data:image/gif;base64," + base64.b64encode(GIF).decode()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png("blue"))
    return root


@pytest.mark.parametrize("value", [GIF, {"bytes": GIF, "path": "x"}, URL, [GIF], {"path": URL, "bytes": None}])
def test_each_form_of_an_image_is_read(value):
    assert read_images(value) == (GIF,)


@pytest.mark.parametrize("name", ["../secret.png", "out.png", "missing.png", "a.png/x", ".", "a\0b", "/etc/hostname"])
def test_no_path_leads_out_of_the_folder(folder, name):
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(DataError, match="image"):
        read_images(name, folder)


def test_a_path_is_opened_in_the_folder_that_is_named_and_nowhere_else(folder, monkeypatch):
    assert read_images(["a.png"], folder) == (png(),)
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match="only opened with images=FOLDER"):
        read_images(["a.png"])
    problem = Problem.create("?", images=["a.png"])
    assert "is a path" in image_fault(problem) and image_fault(with_images(problem, folder)) == ""


@pytest.mark.parametrize("bad", [
    b"", b"%PDF-1.7", b"GIF89a" + bytes(MOST_BYTES), 3, [URL] * 17, "data:image/png,xx", "data:image/png;base64,@@",
    "data:image/png;base64," + "A" * (MOST_BYTES * 2),
])  # fmt: skip
def test_what_is_no_image_or_too_large_is_refused(bad):
    with pytest.raises(DataError):
        read_images(bad)


def test_a_file_is_not_read_beyond_the_limit(folder):
    with (folder / "big.gif").open("wb") as file:
        file.write(b"GIF89a")
        file.truncate(10 * MOST_BYTES)
    with pytest.raises(DataError, match="are the most"):
        read_images("big.gif", folder)


@pytest.mark.parametrize("part", [
    {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}, {"type": "image_url", "image_url": "x"},
    {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, {"type": "image", "image": "/etc/passwd"},
    {"type": "image_url"}, {"type": "input_audio"}, "text", {"type": "video", "url": "x"},
])  # fmt: skip
def test_a_chat_cannot_make_anybody_fetch_something(part, tmp_path):
    chat = [{"role": "user", "content": [part]}]
    with pytest.raises(DataError):
        check_chat(chat)
    with pytest.raises(DataError):
        build_messages(Problem.create(chat), PromptConfig())
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": chat}) + "\n" + json.dumps({"prompt": "fine?"}))
    assert len(load_problems(tmp_path / "p.jsonl").bad) == 1


def test_images_stand_before_the_question():
    [message] = build_messages(Problem.create("What?", images=[GIF]), PromptConfig(template="Look. {{ problem }}"))
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    assert message["content"][1]["text"] == "Look. What?" and images_of(message) == [GIF]


def test_images_of_a_chat_stand_in_its_first_question():
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    made = build_messages(Problem.create(chat, images=[GIF]), PromptConfig())
    assert [len(images_of(message)) for message in made] == [0, 1, 0] and made[1]["content"][1]["text"] == "a"


def test_a_dataset_keeps_images_to_the_byte(tmp_path):
    problem = Problem.create("?", "1", images=[png(), "left/alone.png", GIF])
    rows = [LabelledTrace(Trace.create(problem, ["a"])), LabelledTrace(Trace.create(Problem.create("!"), ["b"]))]
    write_dataset(tmp_path / "d", rows, {})
    assert read_dataset(tmp_path / "d") == rows


def test_datasets_reads_the_images_as_they_are(tmp_path):
    import datasets

    write_dataset(tmp_path / "d", [LabelledTrace(Trace.create(Problem.create("?", images=[GIF]), ["a"]))], {})
    table = datasets.load_dataset(str(tmp_path / "d"), split="train", cache_dir=str(tmp_path / "cache"))
    assert table[0]["images"] == [{"bytes": GIF, "path": None}]


def test_a_run_carries_images_from_the_file_to_the_dataset(folder, tmp_path):
    rows = [
        {"problem": "?", "images": ["a.png"], "response": "#### 1"},
        {"problem": "!", "image": URL, "response": "2"},
    ]
    rows += [{"problem": "out", "images": ["../secret.png"], "response": "x"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"source": str(tmp_path / "t.jsonl"), "images": str(folder)}
    config = {"traces": source, "labelers": ["arithmetic", "vote"], "output": str(tmp_path / "run")}
    result = run_synth(SynthConfig.model_validate(config))
    assert result.counts["bad_rows"] == 1
    assert [row.trace.problem.images for row in read_dataset(result.output)] == [(png(),), (GIF,)]


def test_paths_of_a_dataset_stay_paths_until_there_is_a_folder(folder, tmp_path):
    write_dataset(tmp_path / "d", [LabelledTrace(Trace.create(Problem.create("?", images=["a.png"]), ["a"]))], {})
    assert load_traces(tmp_path / "d").rows[0].trace.problem.images == ("a.png",)
    assert load_traces(tmp_path / "d", images=str(folder)).rows[0].trace.problem.images == (png(),)


def test_the_kinds_are_told_by_their_first_bytes():
    kinds = [media_type(data) for data in (png(), b"\xff\xd8\xff\xe0", GIF, b"RIFF1234WEBPVP8 ")]
    assert kinds == ["image/png", "image/jpeg", "image/gif", "image/webp"]
