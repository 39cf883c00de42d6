"""Run folders: resumed, refused, and complete when they are finished."""

import json

import filelock
import pytest

from breastus.config.schema import Config
from breastus.errors import ConfigError, ImageError, ModelError, RunError
from breastus.runs.run import Run, open_run
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.train import train

# So few images leave metrics undefined, which other tests are about.
pytestmark = pytest.mark.filterwarnings("ignore::breastus.errors.UndefinedMetricWarning")


def take(out, config=None):
    config = config or Config()
    with open_run(out, config, resume=lambda _: config) as run:
        return run.path


def test_a_finished_run_holds_what_the_design_says(tiny_run):
    names = {path.name for path in tiny_run.path.iterdir() if not path.name.startswith(".")}
    assert names == {
        *("config.yaml", "environment.json", "manifest.csv", "splits.csv", "history.csv", "logs"),
        *("best.keras", "predictions_val.csv", "predictions_test.csv", "metrics.json"),
        *("report.html", "figures", "decision.json", "shortcuts.json", "bundle"),
        "training_features.npz",
    }
    assert tiny_run.finished
    assert len(tiny_run.history) == 2
    assert 0 <= tiny_run.metrics["test"]["roc_auc"]["value"] <= 1
    environment = tiny_run.environment
    assert {"versions", "hardware", "seed", "data_fingerprint", "command"} <= set(environment)
    assert Config.from_yaml(tiny_run.path / "config.yaml") == tiny_run.config
    assert any(path.name.startswith("events") for path in tiny_run.path.rglob("logs/*/*"))


def test_a_report_of_phantoms_says_so(tiny_run):
    assert "has never seen a patient" in (tiny_run.path / "report.html").read_text()


def test_evaluating_again_gives_the_same_numbers(tiny_run):
    before = (tiny_run.path / "metrics.json").read_bytes()
    evaluate_run(Run.load(tiny_run.path))
    assert (tiny_run.path / "metrics.json").read_bytes() == before


def test_a_finished_run_is_not_written_over(tiny_run):
    with pytest.raises(RunError, match=r"holds a finished run. Choose another --out"):
        take(tiny_run.path, tiny_run.config)


def test_an_unfinished_run_is_taken_up_with_its_settings_only(tmp_path):
    other = Config().replace({"training": {"epochs": 3}})
    take(tmp_path / "run", other)
    # Nothing has begun yet: other settings are allowed.
    take(tmp_path / "run")
    (tmp_path / "run" / "splits.csv").touch()
    assert take(tmp_path / "run") == tmp_path / "run"
    with pytest.raises(RunError, match=r"other settings \(training.epochs: 20 -> 3\)"):
        take(tmp_path / "run", other)


def test_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(RunError, match="exists and is not a run folder"):
        take(tmp_path)
    # config.yaml is a common name: it alone makes no run folder.
    (tmp_path / "config.yaml").write_text("seed: 1")
    with pytest.raises(RunError, match="exists and is not a run folder"):
        take(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("model: {depth: 4}")
    with pytest.raises(RunError, match=r"other cannot be resumed.*There is no setting model.depth"):
        take(tmp_path / "other")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be created"):
        take(tmp_path / "file" / "run")
    with pytest.raises(RunError, match="cannot be created"):
        take(tmp_path / "file")


def test_two_processes_do_not_share_a_run(tmp_path):
    (tmp_path / "run").mkdir()
    with (
        filelock.FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(RunError, match="in use by another training"),
    ):
        take(tmp_path / "run")


def test_the_next_free_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert take(None).as_posix() == "runs/cnn"
    assert take(None).as_posix() == "runs/cnn"  # unfinished, same settings
    (tmp_path / "runs" / "cnn" / "bundle").mkdir()
    assert take(None).as_posix() == "runs/cnn-2"


def test_no_run_is_named(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        Run.load(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1")
    with pytest.raises(RunError, match=r"metrics\.json does not exist"):
        _ = Run.load(tmp_path).metrics


@pytest.mark.parametrize(
    ("model", "changes", "error", "message"),
    [
        ("cnm", {}, ModelError, "Did you mean cnn"),
        ("cnn", {"augmentation": {"policy": "studdy"}}, ConfigError, "Did you mean study"),
        ("cnn", {"model": {"image_size": 16}}, ModelError, "image_size must be at least 22"),
    ],
)
def test_what_is_impossible_is_said_before_any_work(
    tiny_config, tmp_path, model, changes, error, message
):
    with pytest.raises(error, match=message):
        train(model, config=tiny_config.replace(changes), out=tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.csv").exists()


def test_an_image_that_is_gone_is_named(class_folders, tiny_config, tmp_path, monkeypatch):
    root = class_folders()
    config = tiny_config.replace({"data": {"source": str(root)}})

    def remove(*_):
        (root / "lump" / "lump 3.png").unlink()

    monkeypatch.setattr("breastus.workflows.train.command_line", remove)
    with pytest.raises(ImageError, match=r"lump 3\.png cannot be opened: No such file"):
        train("cnn", config=config, out=tmp_path / "run")


def test_the_fingerprint_follows_content_label_and_split(tiny_run):
    import pandas as pd

    from breastus.workflows.train import data_fingerprint

    manifest = pd.read_csv(tiny_run.path / "manifest.csv", keep_default_na=False)
    splits = pd.read_csv(tiny_run.path / "splits.csv")
    first = data_fingerprint(manifest, splits)
    assert first == tiny_run.environment["data_fingerprint"]
    moved = manifest.assign(path="/elsewhere/" + manifest["image_id"])
    assert data_fingerprint(moved, splits) == first
    for column, value in (("label", "lump"), ("sha256", "0" * 64)):
        changed = manifest.copy()
        changed.loc[changed["label"] == "no_lump", column] = value
        assert data_fingerprint(changed, splits) != first
    info = json.loads((tiny_run.bundle / "bundle.json").read_text())
    assert info["data_fingerprint"] == first


def fail(out, *files):
    with open_run(out, Config(), resume=lambda _: Config()) as run:
        for name in files:
            (run.path / name).touch()
        raise RuntimeError


def test_a_training_that_fails_before_its_data_are_there_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (None, "deep/down/run"):
        with pytest.raises(RuntimeError):
            fail(out)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError):
        fail("mine")
    assert list((tmp_path / "mine").iterdir()) == []
    with pytest.raises(RuntimeError):
        fail("begun", "manifest.csv", "splits.csv")  # kept, to be resumed
    assert (tmp_path / "begun" / "config.yaml").is_file()
