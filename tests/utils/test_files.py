"""Files are whole or not there."""

import json
import os

import numpy as np
import pytest

from breastus.errors import RunError
from breastus.training.state import save_state
from breastus.utils.files import (
    printable,
    reserve,
    write_aside,
    write_folder_aside,
    write_json,
    write_text,
)


def _fail_half_way(writing, write) -> None:
    def run():
        with writing as aside:
            write(aside)
            raise KeyError

    with pytest.raises(KeyError):
        run()


def test_names_that_are_not_utf8_are_written_escaped(tmp_path):
    name = os.fsdecode(b"l\xe9sion \xc3\xa9")
    assert printable(name) == r"l\xe9sion é"
    assert printable("\ud800") == r"\ud800"  # as Windows allows
    assert printable(tmp_path) == str(tmp_path)
    write_json(tmp_path / "a.json", {"path": name})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"path": name}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    _fail_half_way(write_aside(path), lambda aside: aside.write_text("half"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_error_with_a_way_out(tmp_path):
    path = tmp_path / "a.txt"
    with (
        pytest.raises(RunError, match=r"a.txt could not be written: No space left"),
        write_aside(path),
    ):
        raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_files_are_synced_through_a_handle_that_may_write(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        os.write(descriptor, b"")  # fails for a handle that is read-only, as fsync does on Windows
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr("os.fsync", fsync)
    write_text(tmp_path / "a.txt", "whole")
    save_state(tmp_path, {"model": [np.zeros(3)]}, {"history": []})
    assert len(synced) == 3
    assert synced[0] == 5


@pytest.mark.parametrize("posix", [True, False])
def test_space_is_reserved_on_each_system(tmp_path, monkeypatch, posix):
    if not posix:
        monkeypatch.delattr("os.posix_fallocate", raising=False)
    monkeypatch.setattr("breastus.utils.files._BLOCK", 10)
    with (tmp_path / "a").open("w+b") as file:
        reserve(file, 25)
        assert np.memmap(file, np.uint8, "r+", shape=25).sum() == 0
    assert (tmp_path / "a").stat().st_size == 25


def test_a_folder_is_replaced_only_by_a_whole_one(tmp_path):
    folder = tmp_path / "models" / "cnn"
    with write_folder_aside(folder) as aside:
        (aside / "old").touch()
    _fail_half_way(write_folder_aside(folder), lambda aside: (aside / "half").touch())
    assert os.listdir(folder) == ["old"]
    with write_folder_aside(folder) as aside:
        (aside / "new").touch()
    assert os.listdir(folder) == ["new"]
    assert os.listdir(folder.parent) == ["cnn"]


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not be written"):
        write_text(tmp_path / "file" / "inner.txt", "x")
    with (
        pytest.raises(RunError, match="could not be written"),
        write_folder_aside(tmp_path / "file" / "inner"),
    ):
        pass


def test_json_is_strict(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"nan": np.float32("nan"), "array": np.arange(2), "path": tmp_path})
    text = path.read_text()
    assert "NaN" not in text
    assert json.loads(text) == {"nan": None, "array": [0, 1], "path": str(tmp_path)}
