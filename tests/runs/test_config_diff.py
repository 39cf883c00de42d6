"""What differs between what is there and what is asked for, but for what is a machine's."""

import os

import pytest

from breastus.config.schema import Config
from breastus.runs.config_diff import HARDWARE_SETTINGS, absolute_source, config_diff

HERE = Config()


def test_a_difference_says_both():
    asked = HERE.replace({"training": {"epochs": 5}, "seed": 3})
    assert config_diff(HERE, HERE) == []
    assert config_diff(HERE, asked) == [
        "training.epochs is 20 there and 5 was asked for",
        "seed is 0 there and 3 was asked for",
    ]
    assert len(config_diff(HERE, asked, ignore=["seed"])) == 1


def test_what_is_the_machines_may_differ_and_precision_by_name():
    other = {"profile": "cpu", "accumulation_steps": 4, "xla": "off", "devices": 2, "cache_mb": 1}
    assert {f"training.{name}" for name in other} == set(HARDWARE_SETTINGS)
    there = HERE.replace({"training": {**other, "precision": "float32"}})
    assert config_diff(there, HERE) == [
        "training.precision is float32 there and auto was asked for"
    ]
    assert config_diff(there, HERE, ignore=["training.precision"]) == []


def test_a_folder_by_another_name_is_the_same_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there, asked = (
        HERE.replace({"data": {"source": source}}) for source in ("A;b/../B", f"{tmp_path}/A;B")
    )
    assert config_diff(there, asked) == []
    assert config_diff(there, HERE) != []


@pytest.mark.parametrize("name", ["auto", "hub", "phantom"])
def test_what_is_no_place_stays(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_source(f"{name};x") == f"{name};{os.path.abspath('x')}"
