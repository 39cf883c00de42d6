"""What differs between what is there and what is asked for, but for what is a machine's."""

import os

import pytest

from breastus.config.schema import Config
from breastus.runs.config_diff import OF_THE_MACHINE, absolute_source, changed_settings

HERE = Config()


def test_a_difference_says_both():
    asked = HERE.replace({"training": {"epochs": 5}, "seed": 3})
    assert changed_settings(HERE, HERE) == []
    assert changed_settings(HERE, asked) == [
        "training.epochs is 20 there and 5 was asked for",
        "seed is 0 there and 3 was asked for",
    ]
    assert len(changed_settings(HERE, asked, but=["seed"])) == 1


def test_what_is_the_machines_may_differ_and_precision_by_name():
    other = {"profile": "cpu", "accumulation_steps": 4, "xla": "off", "devices": 2, "cache_mb": 1}
    assert {f"training.{name}" for name in other} == set(OF_THE_MACHINE)
    there = HERE.replace({"training": {**other, "precision": "float32"}})
    assert changed_settings(there, HERE) == [
        "training.precision is float32 there and auto was asked for"
    ]
    assert changed_settings(there, HERE, but=["training.precision"]) == []


def test_a_folder_by_another_name_is_the_same_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there, asked = (
        HERE.replace({"data": {"source": source}}) for source in ("A;b/../B", f"{tmp_path}/A;B")
    )
    assert changed_settings(there, asked) == []
    assert changed_settings(there, HERE) != []


@pytest.mark.parametrize("name", ["auto", "hub", "phantom"])
def test_what_is_no_place_stays(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_source(f"{name};x") == f"{name};{os.path.abspath('x')}"
