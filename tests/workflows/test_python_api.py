"""What a notebook does: train with own callbacks and metrics, check, audit, and look at a run."""

import json
import shutil
import subprocess
import sys

import keras
import pytest

import breastus
from breastus.cli.main import main
from breastus.data.images import to_png
from breastus.errors import ConfigError, DataError, RunError
from breastus.runs.run import Run

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


class Epochs(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(epoch)


def test_settings_by_name_and_callbacks_and_metrics(tiny_config, tmp_path):
    spy = Epochs()
    run = breastus.train(
        "cnn",
        config=tiny_config,
        out=tmp_path / "run",
        epochs=1,
        learning_rate=0.01,
        seed=3,
        callbacks=[spy],
        metrics=[keras.metrics.AUC(name="auc")],
    )
    assert (run.config.training.epochs, run.config.training.learning_rate) == (1, 0.01)
    assert run.config.seed == run.environment["seed"] == 3
    precision = run.environment["precision"]
    assert (precision["asked"], precision["used"]) == ("auto", run.config.training.precision)
    assert spy.seen == [0]
    assert {"auc", "val_auc", "accuracy"} <= set(run.history)


def test_an_unknown_setting_leaves_nothing_behind(tiny_config, tmp_path):
    with pytest.raises(ConfigError, match="epochs"):
        breastus.train("cnn", config=tiny_config, out=tmp_path / "run", epoch=2)
    with pytest.raises(DataError):
        breastus.train("cnn", data=tmp_path / "nowhere", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_in_a_notebook(tiny_run, tmp_path):
    html = tiny_run._repr_html_()
    assert "ROC-AUC" in html
    assert str(tiny_run.report) in html
    assert "<img" not in html
    assert "data:image" not in html
    (tmp_path / "config.yaml").write_text("seed: 1")
    assert "not finished" in Run(tmp_path)._repr_html_()


def test_a_run_and_its_bundle_agree_after_another_evaluation(tiny_run, tmp_path):
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    file = run.bundle / "bundle.json"
    before = file.read_bytes()
    breastus.evaluate_run(run)
    assert file.read_bytes() == before
    assert main(["evaluate", str(run.path), "--set", "evaluation.threshold=0.123"]) == 0
    metrics = Run(run.path).metrics
    assert Run(run.path).config.evaluation.threshold == 0.123
    assert Run(run.path).read_decision().threshold == 0.123
    assert set(run.read_predictions("test")["threshold"]) == {0.123}
    predictor = breastus.Predictor(run.path)
    assert predictor.threshold == 0.123 == metrics["threshold"]
    metadata = json.loads(file.read_text())
    assert metadata["metrics"]["test"]["sensitivity"] == metrics["test"]["sensitivity"]
    assert "0.123" in (run.bundle / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("moment", ["write_config", "write_decision", "write_metrics", "bundle"])
def test_a_run_and_its_bundle_agree_after_a_kill(tiny_run, tmp_path, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    name = f"runs.run.Run.{moment}" if moment != "bundle" else "workflows.evaluate.write_bundle"
    name = name.replace("run.Run.write_metrics", "report_folder.ReportFolder.write_metrics")
    monkeypatch.setattr(f"breastus.{name}", kill)
    with pytest.raises(Killed):
        breastus.evaluate_run(run, settings=["evaluation.threshold=0.123"])
    monkeypatch.undo()
    assert not (run.path / "bundle").exists()  # rather than another one than the run has
    with pytest.raises(RunError, match=r"evaluation of .* was interrupted.*evaluate .*run again"):
        breastus.Predictor(run.path)
    with pytest.raises(RunError, match="holds a finished run"):
        breastus.train("cnn", config=tiny_run.config, out=run.path)
    if moment == "bundle":
        breastus.evaluate_run(run.path)
        threshold = json.loads((run.path / "bundle" / "bundle.json").read_text())["threshold"]
        assert threshold == Run(run.path).read_decision().threshold == 0.123
        assert {path.name for path in run.path.iterdir() if "bundle" in path.name} == {"bundle"}


def test_a_run_that_was_killed_before_it_was_published_is_published_by_the_same_command(
    tiny_run, tmp_path, monkeypatch
):
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (run.path / "state.npz").touch()  # discarded once all is done
    published = tmp_path / "models" / "cnn"
    monkeypatch.setattr("breastus.workflows.train.Trainer", None)  # nothing is trained again
    again = breastus.train("cnn", config=run.config, out=run.path, publish=published)
    assert (published / "bundle.json").read_bytes() == again.file("bundle/bundle.json").read_bytes()
    assert not again.has_state
    with pytest.raises(RunError, match="holds a finished run"):
        breastus.train("cnn", config=run.config, out=run.path, publish=published)


@pytest.mark.slow
def test_a_failed_copy_leaves_what_publishes_the_run_later(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    config = tiny_config.replace({"training": {"epochs": 1}})
    arguments = {"config": config, "out": tmp_path / "run"}
    with pytest.raises(RunError, match="could not be written"):
        breastus.train("cnn", **arguments, publish=tmp_path / "file" / "cnn")
    breastus.train("cnn", **arguments, publish=tmp_path / "cnn")
    assert breastus.Predictor(tmp_path / "cnn").threshold > 0


def test_check(tiny_run, tmp_path, speckle):
    path = tmp_path / "scan.png"
    path.write_bytes(to_png(speckle(120, 150)))
    report = breastus.check(tiny_run, [path, tmp_path / "none.png"], out=tmp_path / "check.html")
    assert [bool(one.error) for one in report.predictions] == [False, True]
    assert "scan.png" in report.page.read_text()
    assert report.summary
    with pytest.raises(RunError, match="exists"):
        breastus.check(tiny_run, path, out=report.page)
    for arguments in ({}, {"images": [path], "data": "phantom"}):
        with pytest.raises(ConfigError, match="either image files or data"):
            breastus.check(tiny_run, **arguments)


def test_audit_and_prepare(class_folders, tmp_path):
    root = class_folders()
    report = breastus.audit(root, out=tmp_path / "audit.html")
    assert report.page.is_file()
    assert report.near_duplicates.is_file()
    assert len(report.audit.manifest) == 24
    assert "24" in report.summary
    manifest, splits = breastus.prepare(root, out=tmp_path / "prepared", seed=1)
    assert set(splits["image_id"]) <= set(manifest["image_id"])
    assert (tmp_path / "prepared" / "splits.csv").is_file()


def test_tensorflow_starts_quietly(tiny_run):
    code = f"import breastus; print(breastus.Predictor({str(tiny_run.path)!r}).labels)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "lump" in done.stdout
