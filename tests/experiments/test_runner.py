"""Recipes train their variants one after the other, or several at a time on separate cores."""

import os
from pathlib import Path

import pytest

from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.runs.environment import describe_hardware
from breastus.runs.run import BUNDLE_FOLDER, CONFIG_FILE, Run
from breastus.utils.threads import usable_cores
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
def test_two_jobs_share_the_cores_and_no_run_is_trained_twice(recipe, capsys):
    recipe("--jobs", "2")
    output = capsys.readouterr().out
    folder = Path("runs", "tried", "made_up")  # because settings are changed
    runs = [Run(folder / f"{name}-0") for name in VARIANTS]
    assert all(one.finished for one in runs)
    assert sum(one.environment["hardware"]["cores"] for one in runs) == usable_cores()
    assert len(os.sched_getaffinity(0)) == usable_cores()  # this process keeps its own
    assert output.count(": On ") == 2  # the result as a sentence, without progress
    assert "epoch" not in output
    assert "epoch" in (folder / "logs" / "plain-0.txt").read_text()
    recipe("--jobs", "2")
    assert capsys.readouterr().out.count("already finished") == 2


@pytest.mark.slow
def test_a_failed_run_stops_the_recipe_and_is_named(recipe, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"error: .*empty"):
        recipe("--data", "empty")
    assert capsys.readouterr().out.count("== runs") == 1


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A function (*arguments) that starts a recipe of BUSI and returns the runs to be trained.

    Nothing is trained. Its `recorded` is the list of runs that the recipe records.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "busi").mkdir()
    started = []
    monkeypatch.setattr(runner, "_train_all", lambda jobs, parallel: started.extend(jobs))
    monkeypatch.setattr(runner, "recorded_runs", lambda experiment: set(start.recorded))
    monkeypatch.setattr(
        runner, "record_run", lambda experiment, run: start.recorded.append(run.path.name)
    )

    def start(*arguments, variants=VARIANTS):
        started.clear()
        command = ["recipe.py", "--data", "busi", "--seeds", "1", *arguments]
        monkeypatch.setattr("sys.argv", command)
        run("A recipe.", "made_up", variants)
        return [job.out.as_posix() for job in started]

    start.recorded = []
    return start


def finish(path, **changes):
    """Leave what a finished run of `plain` leaves, in a precision that the machine chose."""
    config = default_config("cnn").replace(
        {"data": {"source": "busi"}, "training": {"precision": "float32", "profile": "cpu"}}
    )
    Path(path, BUNDLE_FOLDER).mkdir(parents=True)
    Path(path, CONFIG_FILE).write_text(config.replace(changes).to_yaml())


def test_a_recorded_run_is_trained_again_except_with_missing(begun):
    begun.recorded.append("plain-0")
    assert begun() == ["runs/made_up/plain-0", "runs/made_up/parula-0"]
    assert begun("--missing") == ["runs/made_up/parula-0"]
    finish("runs/made_up/plain-0")
    assert begun() == ["runs/made_up/parula-0"]


def test_a_finished_run_without_a_record_is_recorded(begun):
    finish("runs/made_up/plain-0")
    begun()
    begun()
    assert begun.recorded == ["plain-0"]


def test_a_try_is_kept_apart_and_not_recorded(begun, capsys):
    finish("runs/made_up/plain-0")
    finish("runs/tried/made_up/plain-0", training={"epochs": 2})
    assert begun("--set", "training.epochs=2") == ["runs/tried/made_up/parula-0"]
    assert not begun.recorded
    with pytest.raises(SystemExit):
        begun("--missing", "--set", "training.epochs=2")
    assert "--missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"data": {"source": "other"}}, "data.source"),
        ({"training": {"epochs": 2}}, "training.epochs"),
    ],
)
def test_a_finished_run_with_other_settings_is_refused(begun, changes, setting):
    finish("runs/made_up/plain-0", **changes)
    with pytest.raises(SystemExit, match=rf"plain-0.*{setting}"):
        begun()


def test_missing_data_is_reported_before_any_training(recipe, capsys):
    with pytest.raises(SystemExit, match=r"error: --data must be .*Received: nowhere"):
        recipe("--data", "nowhere")
    assert "== runs" not in capsys.readouterr().out


def test_a_pretrained_run_is_known_by_its_weights(begun):
    variants = {"cnn-images": ("cnn", {}, "images")}
    assert begun(variants=variants) == ["runs/made_up/cnn-images-0"]
    finish("runs/made_up/cnn-images-0", model={"weights": "runs/made_up/weights/cnn-images-0"})
    assert begun(variants=variants) == []


def test_weights_are_pretrained_once_on_the_split_of_the_training(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "breastus.workflows.pretrain.pretrain",
        lambda network, **others: calls.append((network, others)),
    )
    weights = {"weights": str(tmp_path / "cnn-images-3"), "image_size": 32}
    data = {"source": "busi", "split": "group"}
    config = Config.from_dict({"model": {"name": "cnn", **weights}, "data": data, "seed": 3})
    runner._pretrain(config, "images")
    ((network, others),) = calls
    assert network == "cnn"
    assert others["out"] == Path(weights["weights"])
    assert others["config"].data == config.data
    assert (others["config"].seed, others["config"].model.image_size) == (3, 32)
    assert others["config"].model.weights is None
    others["out"].mkdir()
    runner._pretrain(config, "images")
    assert len(calls) == 1


@pytest.mark.parametrize("jobs", ["0", "1000"])
def test_the_number_of_jobs_is_at_most_that_of_the_cores(recipe, jobs, capsys):
    with pytest.raises(SystemExit):
        recipe("--jobs", jobs)
    assert "--jobs must be from 1 to" in capsys.readouterr().err


def test_a_single_core_is_singular():
    facts = {"cores": 1, "processor": "a processor", "gpus": []}
    assert describe_hardware(facts) == "1 core, a processor, no GPU"
