"""A cross-validation continues only with the data and settings that it was begun with.

Nothing is trained here: a fold that is "trained" is a folder with its settings and a bundle.
"""

import os
import shutil

import pytest

from breastus.errors import RunError
from breastus.preprocessing.version import TRANSFORM_VERSION
from breastus.runs.cross_validation import SETTINGS_FILE, CrossValidation
from breastus.runs.run import BUNDLE_FOLDER, CONFIG_FILE, ENVIRONMENT_FILE
from breastus.utils.files import write_json
from breastus.workflows import cross_validate as module
from breastus.workflows.cross_validate import cross_validate

# What a processor with bfloat16 would decide.
DECIDED = {"precision": "mixed_bfloat16", "profile": "cpu", "accumulation_steps": 1, "xla": "off"}


@pytest.fixture
def start(tmp_path, tiny_config, monkeypatch):
    """A function (changes, **arguments) that cross-validates; returns which folds it trained."""
    trained = []

    def train(model, *, config, out, shared):
        (out / BUNDLE_FOLDER).mkdir(parents=True)
        given = {
            name: value
            for name, value in DECIDED.items()
            if getattr(config.training, name) in ("auto", None)
        }
        (out / CONFIG_FILE).write_text(config.replace({"training": given}).to_yaml())
        write_json(out / ENVIRONMENT_FILE, {"transform": TRANSFORM_VERSION})
        trained.append(out.name)

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "evaluate_folds", CrossValidation)

    def run(changes=None, **arguments):
        trained.clear()
        arguments = {"out": tmp_path / "cv", "folds": 3, "repeats": 1, **arguments}
        cross_validate("cnn", config=tiny_config.replace(changes or {}), **arguments)
        return list(trained)

    return run


def test_other_images_are_refused_by_both_names(start, tiny_config, class_folders):
    other = class_folders()
    assert len(start()) == 3
    with pytest.raises(RunError, match=r"data\.source is .* there and .* was asked for") as error:
        start(data=other)
    for name in (tiny_config.data.source, str(other), "Choose another --out, or delete it."):
        assert name in str(error.value)


def test_folds_of_another_image_transform_are_not_pooled_with_new_ones(start, tmp_path):
    start()
    write_json(tmp_path / "cv" / "repeat-0-fold-1" / ENVIRONMENT_FILE, {"transform": 1})
    with pytest.raises(RunError, match="another version of the image transform"):
        start()


def test_before_any_fold_is_trained_as_well(start, class_folders, tmp_path):
    start()
    for fold in (tmp_path / "cv").glob("repeat-*"):
        shutil.rmtree(fold)
    for changes in ({"data": {"known_faults": False}}, {"training": {"epochs": 7}}):
        with pytest.raises(RunError, match="was begun with other data or settings"):
            start(changes)
    with pytest.raises(RunError, match="seed is 0 there and 5 was asked for"):
        start(seed=5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"training": {"epochs": 7}}, r"training\.epochs is 2 there and 7 was asked for"),
        ({"training": {"learning_rate": 0.5}}, r"training\.learning_rate is 0\.001 there and 0\.5"),
    ],
)
def test_settings_of_the_training_count(start, changes, text):
    start()
    with pytest.raises(RunError, match=text):
        start(changes)


def test_what_is_the_machines_may_differ(start):
    start()
    assert start({"training": {"cache_mb": 1, "accumulation_steps": 2, "devices": 1}}) == []
    # Named now, and what every fold was trained in.
    assert start({"training": {"precision": "mixed_bfloat16"}}) == []
    with pytest.raises(RunError, match=r"fold-0 was trained with other settings: .*float32"):
        start({"training": {"precision": "float32"}})


def test_a_precision_that_was_asked_for_is_not_forgotten(start):
    start({"training": {"precision": "float32"}})
    with pytest.raises(RunError, match=r"precision is float32 there and auto was asked for"):
        start()


def test_more_repeats_and_turns_go_on(start):
    start()
    assert start(repeats=2) == [f"repeat-1-fold-{fold}" for fold in range(3)]
    assert len(start(repeats=2, val_rotations=2)) == 6


def test_the_same_images_by_another_path_and_in_a_moved_folder(start, tiny_config, tmp_path):
    start()
    near = os.path.relpath(tiny_config.data.source)
    assert start(data=near) == []
    (tmp_path / "cv").rename(tmp_path / "moved")
    assert start(out=tmp_path / "moved") == []


def test_a_folder_that_does_not_say_what_it_is_of_is_taken_up_with_a_word(start, tmp_path, capsys):
    start()
    (tmp_path / "cv" / SETTINGS_FILE).unlink()
    assert start() == []
    assert "whether --data is the same was not checked" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"training\.epochs"):
        start({"training": {"epochs": 7}})


def test_one_that_was_cut_off_before_its_images_were_written_begins_anew(start, tmp_path):
    start()
    for path in (tmp_path / "cv").iterdir():
        if path.name != SETTINGS_FILE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(start({"training": {"epochs": 7}})) == 3
    assert start({"training": {"epochs": 7}}) == []
