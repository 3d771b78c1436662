"""A run's state: what is stored stays, in order; a folder belongs to one config and one process."""

from __future__ import annotations

import pytest

from rewardkit.errors import ConfigError
from rewardkit.store.state import RunState

CONFIG = {"generator": {"temperature": 0.7}, "labelers": ["arithmetic"]}


def begin(folder, config=CONFIG, ids=("a", "b", "c"), digest="sha256:1"):
    state = RunState(folder, config)
    state.begin(ids, {"in.jsonl": digest})
    return state


def test_what_was_stored_is_there_when_opened_again(tmp_path):
    with begin(tmp_path / "run") as state:
        state.put_generations(0, [{"text": "one"}, {"text": "two"}])
        state.put_rows(0, [{"id": 1}], seconds=1.5)
    with begin(tmp_path / "run") as state:
        assert state.generations(0, 3) == [{"text": "one"}, {"text": "two"}, None]
        assert (state.open_batches(1), state.seconds) == ({1: 1, 2: 1}, 1.5)


def test_rows_come_in_the_order_of_the_items_and_bad_ones_apart(tmp_path):
    with begin(tmp_path / "run") as state:
        state.put_rows(2, [{"id": 3}])
        state.put_rows(0, [{"id": 1}, "the response is empty"])
        assert list(state.rows()) == [{"id": 1}, {"id": 3}]
        assert state.bad() == [("b", "the response is empty")]
        assert state.open_batches(2) == {}


def test_a_batch_is_open_until_all_its_items_are_there(tmp_path):
    with begin(tmp_path / "run", ids=tuple("abcdefg")) as state:
        state.put_rows(2, [{"id": 3}, {"id": 4}])
        state.put_rows(4, [{"id": 5}])
        assert list(state.open_batches(2).items()) == [(0, 2), (4, 1), (6, 1)]


def test_a_run_of_an_older_version_goes_on_where_a_new_option_is_not_used(tmp_path):
    with begin(tmp_path / "run") as state:
        state.put_rows(0, [{"id": 1}])
    with begin(tmp_path / "run", {**CONFIG, "images": None}) as state:
        assert state.open_batches(1) == {1: 1, 2: 1}
    with pytest.raises(ConfigError, match="images was null and is"):
        begin(tmp_path / "run", {**CONFIG, "images": "folder"})


def test_bytes_of_a_row_come_back_as_they_were(tmp_path):
    row = {"images": [{"bytes": b"\x00\xff", "path": None}], "labels": []}
    with begin(tmp_path / "run") as state:
        state.put_rows(0, [row])
        assert state.item(0) == row == next(state.rows())


def test_lone_surrogates_can_be_stored(tmp_path):
    with begin(tmp_path / "run") as state:
        state.put_generations(0, [{"text": "\ud800"}])
        assert state.generations(0, 1) == [{"text": "\ud800"}]


def test_another_config_names_the_key_and_what_to_do(tmp_path):
    with begin(tmp_path / "run") as state:
        state.put_generations(0, [{"text": "one"}])
    other = CONFIG | {"generator": {"temperature": 0.9}}
    with pytest.raises(ConfigError, match=r"generator.temperature was 0.7 and is 0.9; choose another output"):
        RunState(tmp_path / "run", other)


def test_another_config_is_fine_while_nothing_was_made(tmp_path):
    begin(tmp_path / "run").__exit__(None, None, None)
    with begin(tmp_path / "run", CONFIG | {"labelers": []}, ids=("x",), digest="sha256:2") as state:
        assert state.open_batches(1) == {0: 1}
        assert state.generations(0, 9) == [None]


def test_an_input_that_changed_is_an_error(tmp_path):
    begin(tmp_path / "run").__exit__(None, None, None)
    with pytest.raises(ConfigError, match="in.jsonl has changed since the run"):
        begin(tmp_path / "run", digest="sha256:2")


def test_a_second_process_is_refused(tmp_path):
    with (
        begin(tmp_path / "run"),
        pytest.raises(ConfigError, match="another process is working on the run"),
    ):
        RunState(tmp_path / "run", CONFIG)


def test_a_folder_with_other_files_is_never_written_into(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="no run of RewardKit"):
        RunState(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


def test_reopening_needs_a_run(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        RunState.reopen(tmp_path)
