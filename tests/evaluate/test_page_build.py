from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from rewardkit.cli.show import show
from rewardkit.errors import DataError
from rewardkit.evaluate.page import build_page, write_page
from rewardkit.store.dataset import LabelledTrace, read_dataset, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def test_the_page_carries_every_trace_as_it_is(dataset, page_file):
    data = data_of(page_file.read_text(encoding="utf-8"))
    rows = read_dataset(dataset)
    assert data["total"] == len(rows) == len(data["traces"])
    for row, shown in zip(rows, data["traces"], strict=True):
        assert [step.text for step in row.trace.steps] == shown["s"]
        assert data["prompts"][shown["q"]] == row.trace.problem.text
        labels = [(x.step, x.p_correct, x.source, x.evidence) for x in row.labels]
        assert labels == [(a, p, data["sources"][s]["source"], e) for a, p, s, e in shown["l"]]
        assert shown["c"] == pytest.approx(row.scores)
    assert data["report"]["figures"][0]["value"] == 0.812


def test_text_of_a_model_cannot_end_the_data(page_file):
    html = page_file.read_text(encoding="utf-8")
    data = html.split('id="data">')[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(data)
    assert html.count("<script") == 2
    assert "<img" not in html


def test_the_page_names_no_other_place(page_file):
    html = page_file.read_text(encoding="utf-8")
    page = html.replace(re.search(r'id="data">(.*?)</script>', html, re.S)[1], "")
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)


def test_the_title_is_escaped():
    html = build_page([LabelledTrace(Trace.create(Problem.create("?"), ["a"]))], title="<b>&%%data%%")
    assert "<title>&lt;b&gt;&amp;%%data%% · RewardKit</title>" in html


def test_surrogates_and_control_characters_survive(tmp_path):
    odd = "\ud800 \x00 \x1b \ufeff 𝟛 \r\n"
    html = build_page([LabelledTrace(Trace.create(Problem.create("?"), [odd]))])
    text = html.encode("utf-8", "backslashreplace").decode("utf-8")
    assert data_of(text)["traces"][0]["s"] == [odd]


def test_missing_scores_become_null():
    trace = Trace.create(Problem.create("?"), ["a", "b"])
    html = build_page([LabelledTrace(trace, (StepLabel(trace.id, 0, None, "x", "local"),), (float("nan"), 0.25))])
    shown = data_of(html)["traces"][0]
    assert shown["c"] == [None, 0.25] and shown["l"] == [[0, None, 0, ""]]


def test_a_chat_is_shown_as_its_text(tmp_path):
    trace = Trace.create(Problem.create([{"role": "user", "content": "2+2?"}]), ["4"])
    write_dataset(tmp_path, [LabelledTrace(trace)], {})
    assert data_of(write_page(tmp_path).path.read_text(encoding="utf-8"))["prompts"] == ["2+2?"]


def test_size_grows_with_the_text_alone():
    def size(count):
        traces = [Trace.create(Problem.create("the same question"), ["x" * 100], sample=i) for i in range(count)]
        return len(build_page([LabelledTrace(t) for t in traces]))

    small, large = size(100), size(1100)
    assert (large - small) / 1000 < 100 + 150


def test_limit_shows_the_first_and_counts_the_rest(dataset, tmp_path):
    page = write_page(dataset, tmp_path / "new" / "few.html", limit=2)
    data = data_of(page.path.read_text(encoding="utf-8"))
    assert (page.traces, page.total, data["total"], len(data["traces"])) == (2, 63, 63, 2)
    assert page.size == page.path.stat().st_size


def test_the_command_says_where_the_page_lies(dataset, tmp_path, capsys):
    show(dataset, tmp_path / "a.html", None, False)
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'a.html'}  (63 traces, ")
    show(dataset, tmp_path / "a.html", 3, True)
    assert json.loads(capsys.readouterr().out)["traces"] == 3


def test_a_folder_that_is_no_dataset_gives_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="no dataset.*rewardkit synth"):
        show(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        show(tmp_path / "missing")


def test_a_malformed_report_is_named_and_no_page_is_written(tmp_path, dataset):
    write_dataset(tmp_path, read_dataset(dataset)[:1], {})
    (tmp_path / "eval.json").write_text("[]")
    with pytest.raises(DataError, match=r"eval\.json is no evaluation report"):
        write_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_a_data_error(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_page(dataset, tmp_path / "file" / "report.html")


def test_importing_the_command_loads_nothing_heavy():
    code = "import sys, rewardkit.cli.show; print(sorted({'numpy', 'pyarrow', 'pydantic', 'torch'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
