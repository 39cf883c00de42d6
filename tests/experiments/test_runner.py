"""Recipes train one variant after the other, or several at a time on a share of the cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.runs.environment import describe_hardware, usable_cores
from breastus.runs.run import BUNDLE_FOLDER, CONFIG_FILE, Run
from experiments import runner
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
    folder = Path("runs", "tried", "made_up")  # as settings are changed
    runs = [Run(folder / f"{name}-0") for name in VARIANTS]
    assert all(one.finished for one in runs)
    assert sum(one.environment["hardware"]["cores"] for one in runs) == usable_cores()
    assert len(os.sched_getaffinity(0)) == usable_cores()  # this process keeps its own
    assert said.count(": On ") == 2  # the answer in words, and no progress
    assert "epoch" not in said
    assert "epoch" in (folder / "logs" / "plain-0.txt").read_text()
    recipe("--jobs", "2")
    assert capsys.readouterr().out.count("finished before") == 2


@pytest.mark.slow
def test_what_fails_ends_all_and_is_named(recipe, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"error: .*empty has no layout"):
        recipe("--data", "empty")
    assert capsys.readouterr().out.count("== runs") == 1


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A function (*arguments) that starts a recipe of BUSI with nothing changed; which run it says.

    Nothing is trained.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "busi").mkdir()
    monkeypatch.setattr(runner, "RECORDS", tmp_path / "records")
    started = []
    monkeypatch.setattr(runner, "_work_off", lambda wanted, jobs: started.extend(wanted))

    def start(*arguments, variants=VARIANTS):
        started.clear()
        command = ["recipe.py", "--data", "busi", "--seeds", "1", *arguments]
        monkeypatch.setattr("sys.argv", command)
        run("A recipe.", "made_up", variants)
        return [asked.out.as_posix() for asked in started]

    return start


def finish(path, **changes):
    """Leave what a finished run of `plain` leaves, in a precision that the machine chose."""
    config = default_config("cnn").replace(
        {"data": {"source": "busi"}, "training": {"precision": "float32", "profile": "cpu"}}
    )
    Path(path, BUNDLE_FOLDER).mkdir(parents=True)
    Path(path, CONFIG_FILE).write_text(config.replace(changes).to_yaml())


def test_a_record_is_no_run_unless_only_what_is_missing_is_wanted(begun, capsys):
    Path("records", "made_up", "plain-0").mkdir(parents=True)
    assert begun() == ["runs/made_up/plain-0", "runs/made_up/parula-0"]
    assert begun("--missing") == ["runs/made_up/parula-0"]
    assert "plain-0: recorded before" in capsys.readouterr().out
    finish("runs/made_up/plain-0")
    assert begun() == ["runs/made_up/parula-0"]
    assert "plain-0: finished before" in capsys.readouterr().out


def test_a_try_is_kept_apart_from_the_experiments_own_runs(begun, capsys):
    finish("runs/made_up/plain-0")
    tried = ["runs/tried/made_up/plain-0", "runs/tried/made_up/parula-0"]
    assert begun("--set", "training.epochs=2") == tried
    with pytest.raises(SystemExit):
        begun("--missing", "--set", "training.epochs=2")
    assert "--missing does not go with --set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"source": "other"}}, "data.source is other there and busi was asked for"),
        ({"training": {"epochs": 2}}, "training.epochs is 2 there and 20 was asked for"),
    ],
)
def test_a_finished_run_of_something_else_is_not_taken_for_what_is_asked(begun, changes, said):
    finish("runs/made_up/plain-0", **changes)
    with pytest.raises(SystemExit, match=rf"plain-0 holds a finished run of other.*{said}\. Move"):
        begun()


def test_data_that_is_not_there_is_said_before_anything_starts(recipe, capsys):
    with pytest.raises(SystemExit, match=r"error: --data must be .*Received: nowhere"):
        recipe("--data", "nowhere")
    assert "== runs" not in capsys.readouterr().out


def test_a_pretrained_run_is_known_by_its_weights(begun):
    variants = {"cnn-images": ("cnn", {}, "images")}
    assert begun(variants=variants) == ["runs/made_up/cnn-images-0"]
    finish("runs/made_up/cnn-images-0", model={"weights": "runs/made_up/weights/cnn-images-0"})
    assert begun(variants=variants) == []


def test_weights_are_made_as_the_training_splits_and_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "breastus.workflows.pretrain.pretrain",
        lambda network, **others: asked.append((network, others)),
    )
    weights = {"weights": str(tmp_path / "cnn-images-3"), "image_size": 32}
    data = {"source": "busi", "split": "group"}
    config = Config.from_dict({"model": {"name": "cnn", **weights}, "data": data, "seed": 3})
    runner._pretrain(config, "images")
    ((network, others),) = asked
    assert network == "cnn"
    assert others["out"] == Path(weights["weights"])
    assert others["config"].data == config.data
    assert (others["config"].seed, others["config"].model.image_size) == (3, 32)
    assert others["config"].model.weights is None
    others["out"].mkdir()
    runner._pretrain(config, "images")
    assert len(asked) == 1


@pytest.mark.parametrize("jobs", ["0", "1000"])
def test_as_many_at_a_time_as_there_are_cores(recipe, jobs, capsys):
    with pytest.raises(SystemExit):
        recipe("--jobs", jobs)
    assert "--jobs must be from 1 to" in capsys.readouterr().err


def test_a_core_alone_is_named_as_one():
    facts = {"cores": 1, "processor": "a processor", "gpus": []}
    assert describe_hardware(facts) == "1 core, a processor, no GPU"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: count"),
        (["few"], "invalid int value: 'few'"),
        (["99"], "count must be at least 100, of which one is a twin. Received: 99"),
    ],
)
def test_the_search_that_grows_says_what_it_wants(arguments, said):
    command = [sys.executable, "-m", "experiments.benchmarks.search_scaling", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
