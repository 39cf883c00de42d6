"""`breastus-runtime`: predictions without TensorFlow, and the imports that keep it fast."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from breastus.data.images import to_png
from breastus.deploy.predictor import Predictor
from breastus.workflows.export import export

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text())["project"]
# With PYTHONPATH, the checkout would take the place of the wheel.
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
SECONDS = 5  # for a prediction; 0.5 on an idle machine, but tests share theirs
MEGABYTES = 150


def name(requirement):
    """Return the name of a package, without version and the headless build of OpenCV."""
    return re.match(r"[\w-]+", requirement)[0].lower().removesuffix("-headless")


def test_predicting_imports_only_what_the_runtime_requires():
    """Including what is imported late, for DICOM, notices and progress bars."""
    code = """
import sys
before = set(sys.modules)
from breastus.cli import images, main, predict
import breastus.deploy.predictor, breastus.deploy.prediction_files
import breastus.reporting.notices, breastus.data.dicom.dicom_file
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    modules = {"PIL": "pillow", "cv2": "opencv-python"}
    third_party = {modules.get(one, one).lower() for one in done.stdout.split()}
    third_party -= {one.lower() for one in sys.stdlib_module_names} | {"breastus"}
    assert third_party <= {name(one) for one in PROJECT["dependencies"]}
    assert not third_party & {"jinja2", "tqdm", "opencv-python", "pydicom", "onnxruntime"}


def test_its_requirements_are_among_those_of_breastus():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"]
    lines += "".join(setup["options.extras_require"][extra] for extra in ("onnx", "dicom"))
    full = {name(line) for line in lines.split("\n") if line and not line.startswith("#")}
    assert {name(one) for one in PROJECT["dependencies"]} <= full


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """The command of an environment that holds the wheel and its requirements alone."""
    folder = tmp_path_factory.mktemp("light")
    shutil.copytree(ROOT / "breastus", folder / "breastus")  # building writes beside the sources
    shutil.copytree(ROOT / "runtime", folder / "runtime")
    binaries = folder / "venv" / "bin"

    def run(python, *arguments):
        subprocess.run([python, "-m", *arguments], check=True, env=ALONE)

    run(sys.executable, "pip", "wheel", "--quiet", "--no-deps", "-w", folder, folder / "runtime")
    run(sys.executable, "venv", folder / "venv")
    (wheel,) = folder.glob("*.whl")
    constraints = ROOT / "constraints.txt"
    run(binaries / "python", "pip", "install", "--quiet", wheel, "--constraint", constraints)
    return binaries / "breastus"


@pytest.mark.slow
def test_the_wheel_predicts_as_the_full_package(light, tiny_run, speckle, tmp_path):
    bundle = export([tiny_run.path], out=tmp_path / "cnn", formats=["onnx"])
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        file.write_bytes(to_png(speckle(300 + number, 400, number)))
    code = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
print(done.stdout)
"""
    command = [light, "predict", bundle, *files, "--format", "json"]
    done = _run(sys.executable, "-c", code, *command)
    assert done.returncode == 0, done.stderr
    measured, _, printed = done.stdout.partition("\n")
    seconds, megabytes = map(float, measured.split())
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    for found, expected in zip(json.loads(printed), Predictor(tiny_run)(files), strict=True):
        assert found["probability"] == pytest.approx(expected.probability, abs=1e-5)
        without = {"probability": None}
        assert found | without == expected.to_dict() | without


@pytest.mark.slow
def test_other_commands_name_the_full_package(light, tmp_path):
    done = _run(light, "train", "cnn")
    assert done.returncode == 1
    assert "pip install breastus" in done.stderr
    assert "Traceback" not in done.stderr
    done = _run(light, "predict", tmp_path, "a.png")
    assert done.returncode == 1
    assert "No model is named" in done.stderr


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ALONE)
