"""Run folders and bundles of an earlier layout say plainly that they must be made again."""

import json
import shutil
import subprocess
import sys

import pytest

import breastus
from breastus.cli.main import main
from breastus.errors import BundleError, RunError
from breastus.preprocessing.version import TRANSFORM_VERSION
from breastus.runs.cross_validation import CrossValidation
from breastus.runs.run import Run
from breastus.workflows.export import export

CONFIG = "data: {source: phantom, fold: 0, turn: 1}\ntraining: {kept_views: 4}\nseed: 0\n"
HEADER = "image_id,split,group_id,finding,label,predicted,probability,raw,threshold"


@pytest.fixture
def earlier(tmp_path):
    """A run folder as format 1 had it, with a bundle."""
    run = tmp_path / "cnn"
    (run / "bundle").mkdir(parents=True)
    (run / "config.yaml").write_text(CONFIG)
    for split in ("val", "test"):
        rows = f"{HEADER}\na,{split},a,benign,lump,lump,0.9,0.8,0.5\n"
        (run / f"predictions_{split}.csv").write_text(rows)
    (run / "bundle" / "bundle.json").write_text(json.dumps({"format": 1, "model": "cnn"}))
    (run / "best.keras").touch()
    return run


def test_settings_of_an_earlier_version_are_named(earlier):
    with pytest.raises(RunError, match=r"config\.yaml cannot be used.*Train again.*data\.turn"):
        _ = Run.load(earlier).config
    (earlier / "settings.yaml").write_text(CONFIG)
    with pytest.raises(RunError, match=r"settings\.yaml cannot be used.*Train again"):
        _ = CrossValidation(earlier).settings


def test_a_bundle_of_an_earlier_version_is_named(earlier):
    message = r"bundle\.json has a format .*must be 2.*Train the network again.*Received: format=1"
    for model in (earlier, earlier / "bundle"):
        with pytest.raises(BundleError, match=message):
            breastus.Predictor(model)
    with pytest.raises(BundleError, match=message):
        breastus.evaluate_run(earlier)
    with pytest.raises(BundleError, match=message):
        breastus.evaluate_external(earlier / "bundle", "phantom")


def test_the_commands_fail_without_a_traceback(earlier, tmp_path, capsys):
    image = str(tmp_path / "a.png")
    for command in (
        ["evaluate", str(earlier)],
        ["evaluate", str(earlier), "--data", "phantom"],
        ["predict", str(earlier / "bundle"), image],
        ["check", str(earlier), image],
    ):
        assert main(command) == 1
        assert "again" in capsys.readouterr().err


def test_a_training_does_not_resume_it(earlier):
    (earlier / "bundle" / "bundle.json").unlink()
    (earlier / "bundle").rmdir()
    (earlier / "splits.csv").touch()
    with pytest.raises(RunError, match=r"cannot be resumed.*earlier version"):
        breastus.train("cnn", data="phantom", out=earlier)


@pytest.fixture(params=[None, 1, 3])
def other_transform(request, tiny_run, tmp_path):
    """A finished run with another version of the image transform, or none, and the version."""
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "other"))
    for file in (run.path / "environment.json", run.bundle / "bundle.json"):
        content = json.loads(file.read_text())
        assert content.pop("transform") == TRANSFORM_VERSION
        if request.param is not None:
            content["transform"] = request.param
        file.write_text(json.dumps(content))
    return run, request.param


def test_a_network_of_another_transform_is_not_applied_to_images(other_transform, tmp_path):
    run, version = other_transform
    way_out = "Update breastus" if version == 3 else "Train the network again"
    message = rf"image transform.*must be 2\. {way_out}.*Received: transform={version}"
    for model in (run, run.bundle):
        with pytest.raises(BundleError, match=message):
            breastus.Predictor(model)
    with pytest.raises(BundleError, match=message):
        breastus.evaluate_external(run.bundle, "phantom")
    with pytest.raises(BundleError, match=message):
        export([run.path], out=tmp_path / "exported")
    for act in (
        lambda: breastus.evaluate_external(run, "phantom"),
        lambda: breastus.evaluate_robustness(run),
        lambda: export([run.path, run.path], out=tmp_path / "exported"),
    ):
        with pytest.raises(RunError, match=message):
            act()
    # Its bundle would have to be written again.
    with pytest.raises(BundleError, match=message):
        breastus.evaluate_run(run)
    assert not (tmp_path / "exported").exists()

    assert run.metrics["test"]["n"] == len(run.read_predictions("test"))
    assert run.report.is_file()


def test_a_training_with_another_transform_is_not_resumed(other_transform):
    run, _ = other_transform
    shutil.rmtree(run.bundle)
    with pytest.raises(RunError, match=r"cannot be resumed.*image transform.*Choose another --out"):
        breastus.train("cnn", config=run.config, out=run.path)


def test_predictions_are_read_without_tensorflow(earlier):
    code = (
        "import sys; from pathlib import Path; import breastus; from breastus import Run;"
        f"Run(Path({str(earlier)!r})).read_predictions('val');"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
