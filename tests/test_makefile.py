"""What `make` would run, without running it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def commands(*arguments):
    """The lines of `make --dry-run`, the same where the tests were themselves started by make."""
    given = ("MAKE", "ARGS", "DATA", "MODEL", "IMAGES")  # what make hands on
    alone = {key: value for key, value in os.environ.items() if not key.startswith(given)}
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=ROOT,
        env=alone,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def prepared(data):
    """The folder that the ablation of a data set takes."""
    (line,) = [line for line in commands("reproduce", f"DATA={data}") if "ablation" in line]
    return re.search(r"--data (\S+)", line)[1]


def test_each_data_set_is_prepared_in_a_folder_of_its_own():
    folders = {prepared(data) for data in ("a", "b", "a b;c", "somewhere/a")}
    assert len(folders) == 4
    assert prepared("a") in folders
    data = "never prepared here"
    assert f'.venv/bin/breastus data prepare --data "{data}" --out {prepared(data)}' in commands(
        "reproduce", f"DATA={data}"
    )


def test_a_try_writes_no_tables():
    tables = ".venv/bin/python -m experiments.results"
    assert tables in commands("reproduce")
    assert tables in commands("reproduce", "ARGS=--seeds 1 --missing")
    assert tables not in commands("reproduce", "ARGS=--seeds 1 --set training.epochs=2")


def test_make_train_takes_the_network_to_start_with():
    (line,) = [line for line in commands("train", "DATA=a b") if "breastus train" in line]
    expected = 'train efficientnet_lite0 --data "a b" --publish models/efficientnet_lite0'
    assert expected in line
    (line,) = [line for line in commands("train-cnn", "ARGS=--seed 1") if "breastus train" in line]
    assert line == '.venv/bin/breastus train cnn --data "auto" --publish models/cnn --seed 1'


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--data auto"),
        (["DATA=hub"], '--data "hub"'),
        (["IMAGES=a.png b.png"], "a.png b.png"),
        (["ARGS=a.png b.png"], "a.png b.png"),
        (["DATA=hub", "ARGS=--count 2"], '--data "hub" --count 2'),
        (["IMAGES=a.png", "ARGS=--out c.html"], "a.png --out c.html"),
    ],
)
def test_make_check_names_images_or_data(arguments, expected):
    lines = " ".join(commands("check", *arguments)).replace("\\", " ").split("breastus check")[-1]
    assert " ".join(lines.split()) == f"models/busi {expected}"


def test_make_check_takes_another_model():
    lines = commands("check", "MODEL=cnn", "IMAGES=a.png")
    assert any("breastus train cnn" in line for line in lines)
    assert "breastus check models/cnn a.png" in " ".join(lines)


def test_help_lists_every_target():
    page = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"\.PHONY: (.+)", page)[1].split()) - {"help", "install"}
    head = page.partition("PYTHON ?=")[0]
    assert all(f"make {target}" in head for target in targets)
