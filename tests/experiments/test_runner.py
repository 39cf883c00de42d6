"""Recipes train one variant after the other, or several at a time on a share of the cores."""

import os
from pathlib import Path

import pytest

from breastus.training.environment import describe_hardware, usable_cores
from breastus.training.run import Run
from experiments.runner import run

VARIANTS = {"plain": ("cnn", {}), "parula": ("cnn", {"preprocessing": {"color": "parula"}})}
SETTINGS = ("model.image_size=32", "training.epochs=1", "evaluation.resamples=100")


@pytest.fixture
def recipe(tmp_path, phantoms, monkeypatch):
    """A function (*arguments) that runs a recipe of two variants in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        command = ["recipe.py", "--data", str(phantoms), "--seeds", "1", *settings, *arguments]
        monkeypatch.setattr("sys.argv", command)
        run("A recipe.", "made_up", VARIANTS)

    return start


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="there is one core")
def test_two_at_a_time_share_the_cores_and_none_is_run_twice(recipe, capsys):
    recipe("--jobs", "2")
    said = capsys.readouterr().out
    runs = [Run(Path("runs", "made_up", f"{name}-0")) for name in VARIANTS]
    assert all(one.finished for one in runs)
    assert sum(one.environment["hardware"]["cores"] for one in runs) == usable_cores()
    assert len(os.sched_getaffinity(0)) == usable_cores()  # this process keeps its own
    assert said.count(": On ") == 2  # the answer in words, and no progress
    assert "epoch" not in said
    assert "epoch" in Path("runs", "made_up", "logs", "plain-0.txt").read_text()
    recipe("--jobs", "2")
    assert capsys.readouterr().out.count("finished before") == 2


@pytest.mark.slow
def test_what_fails_ends_all_and_is_named(recipe, capsys):
    with pytest.raises(SystemExit, match=r"error: .*no such data|error: .*nowhere"):
        recipe("--data", "nowhere")
    assert capsys.readouterr().out.count("== runs") == 1


@pytest.mark.parametrize("jobs", ["0", "1000"])
def test_as_many_at_a_time_as_there_are_cores(recipe, jobs, capsys):
    with pytest.raises(SystemExit):
        recipe("--jobs", jobs)
    assert "--jobs must be from 1 to" in capsys.readouterr().err


def test_a_core_alone_is_named_as_one():
    facts = {"cores": 1, "processor": "a processor", "gpus": []}
    assert describe_hardware(facts) == "1 core, a processor, no GPU"
