"""The script that writes RESULTS.md and README.md says what the runs say, and no more."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from breastus.config.presets import default_config, pretraining_config
from breastus.evaluation.predictions import read_predictions
from breastus.models import registry
from breastus.models.registry import build_model, list_models
from experiments.run_tables import DECIDED_ANEW

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*(Undefined|interval):UserWarning")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The script as a module, in a folder of its own."""
    shutil.copytree(ROOT / "experiments", tmp_path / "repo" / "experiments")
    (tmp_path / "repo" / "experiments" / "RESULTS.md").unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "repo" / "experiments" / "records", ignore_errors=True)
    path = tmp_path / "repo" / "experiments" / "results.py"
    spec = importlib.util.spec_from_file_location("results", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path / "repo")
    for name, path in (("RESULTS", "experiments/RESULTS.md"), ("RECORDS", "experiments/records")):
        monkeypatch.setattr(module, name, Path(path).absolute())
    monkeypatch.setattr(module, "ROOT", Path.cwd())
    return module


def test_an_experiment_stands_beside_the_one_it_is_compared_with(results, tiny_run, monkeypatch):
    for experiment in ("networks", "precision"):
        shutil.copytree(tiny_run.path, Path("runs", experiment, "cnn-0"))
    monkeypatch.setattr("sys.argv", ["results.py"])
    Path("README.md").write_text("# breastus\n")
    results.main()
    text = Path("experiments", "RESULTS.md").read_text()
    assert text.count("Less float32, on the same test images") == 1
    assert "| cnn | 1 | 0.00 |" in text  # too few groups for an interval


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("networks.py --data /x/busi --seeds 2", "networks.py --data ... --seeds 2"),
        ("study.py --data busi --set a.b=2", "study.py --data ... --set a.b=2"),
        ("bench --rivals /x/y/.venv-bench --only cnn", "bench --rivals .venv-bench --only cnn"),
    ],
)
def test_a_command_is_given_without_the_machines_folders(results, command, expected):
    assert results.without_folders(command) == expected


@pytest.mark.parametrize(
    "name", ["ablation", "leakage", "networks", "precision", "pretraining", "study"]
)
def test_a_recipes_variants_can_be_run(name, monkeypatch):
    list_models()  # so that a recipe's own networks come last, and go again
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    recipe = importlib.import_module(f"experiments.recipes.{name}")
    for network, settings, *on in recipe.VARIANTS.values():
        assert network in list_models()
        default_config(network).replace(settings)
        for kind in on:
            pretraining_config(network, kind).replace(settings)
    if name == "networks":
        assert {network for network, _ in recipe.VARIANTS.values()} == set(list_models())


def test_pretrained_networks_stand_beside_those_from_random_weights(results, tiny_run, monkeypatch):
    shutil.copytree(tiny_run.path, Path("runs", "precision", "cnn-0"))
    shutil.copytree(tiny_run.path, Path("runs", "pretraining", "cnn-images-0"))
    Path("runs", "pretraining", "weights", "cnn-images-0").mkdir(parents=True)  # is no run
    run = Path("runs", "pretraining", "cnn-images-0")
    facts = {"on": "images", "images": 1234, "epochs": 7, "seconds": 90.0, "held_out_seen": 0}
    place = "/home/somebody/runs/weights/cnn-images-0"
    environment = json.loads((run / "environment.json").read_text())
    environment |= {"pretraining": facts, "weights": {"weights": place, "reason": ""}}
    (run / "environment.json").write_text(json.dumps(environment))
    config = tiny_run.config.replace({"model": {"weights": place}})
    (run / "config.yaml").write_text(config.to_yaml())
    monkeypatch.setattr("sys.argv", ["results.py"])
    results.main()
    text = Path("experiments", "RESULTS.md").read_text()
    assert "Less random weights, on the same test images" in text
    assert "| cnn-images | 1 | 0.00 |" in text
    assert "| cnn | 1 | 0.00 |" not in text  # those are less nothing
    assert "pretrained on images (1,234 of them, 7 epochs, 1.5 minutes)" in text
    for path in Path("experiments", "records", "pretraining").rglob("*.*"):
        assert "somebody" not in path.read_text(), path


def test_an_ablation_is_compared_with_its_base_and_decided_anew(results, tiny_run, monkeypatch):
    for variant in ("base", "focal", "cnn", "cnn-two-blocks"):
        shutil.copytree(tiny_run.path, Path("runs", "ablation", f"{variant}-0"))
    monkeypatch.setattr("sys.argv", ["results.py"])
    results.main()
    text = Path("experiments", "RESULTS.md").read_text()
    differences = text[text.index("Less what each") : text.index("Decided anew")]
    assert [line.split(" |")[0] for line in differences.splitlines()[4:6]] == [
        "| cnn-two-blocks",
        "| focal",
    ]
    anew = text[text.index("Decided anew") : text.index("What they cost")]
    assert anew.count("| less the base's |") == len(DECIDED_ANEW["ablation"][1])
    half = next(line for line in anew.splitlines() if line.startswith("| threshold 0.5 |"))
    test = read_predictions(tiny_run.file("predictions_test.csv"))
    called = np.where(test["probability"] >= 0.5, "lump", "no_lump")
    assert f"| {accuracy_score(test['label'], called):.2f}" in half


def test_text_goes_between_its_marks(results, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Title\n\n<!-- begin a -->\nold\n<!-- end a -->\n\nthe rest\n")
    results.write_section(path, "a", "new")
    results.write_section(path, "a", "newer")
    assert path.read_text() == ("# Title\n\n<!-- begin a -->\nnewer\n<!-- end a -->\n\nthe rest\n")
    results.write_section(path, "b", "more")
    assert path.read_text().endswith("the rest\n\n<!-- begin b -->\nmore\n<!-- end b -->\n")


def test_from_run_folders_to_both_files(results, tiny_run, monkeypatch):
    for variant in ("cnn-group-plain", "cnn-study-plain", "cnn-study-parula"):
        shutil.copytree(tiny_run.path, Path("runs", "study", f"{variant}-0"))
    shutil.copytree(tiny_run.path, Path("runs", "cnn"))  # no experiment's
    shutil.copytree(tiny_run.path, Path("runs", "best", "repeat-0-fold-0"))  # has its own script
    shutil.rmtree(Path("runs", "study", "cnn-study-parula-0", "bundle"))  # not finished
    Path("README.md").write_text("# breastus\n")
    monkeypatch.setattr("sys.argv", ["results.py"])
    results.main()
    text = Path("experiments", "RESULTS.md").read_text()
    assert text.count("| cnn-group-plain-0 |") == 1
    assert "| cnn-study-parula" not in text
    assert "`cnn-study-parula` was not run" in text
    assert "`cnn-group-plain` 1 seed" in text
    assert "begin best" not in text
    assert f"{build_model('cnn', image_size=32).count_params():,}" in text
    accuracy = tiny_run.metrics["test"]["accuracy"]["value"]
    assert f"{accuracy:.2f}" in text
    readme = Path("README.md").read_text()
    assert readme.count("cnn-group-plain, 1 seed |") == 1
    assert "the study, swin, parula, as published | 92" in readme


def test_records_say_nothing_of_the_machine_and_outlive_the_runs(results, tiny_run, monkeypatch):
    for seed in (0, 1):
        shutil.copytree(tiny_run.path, Path("runs", "networks", f"cnn-{seed}"))
    monkeypatch.setattr("sys.argv", ["results.py"])
    Path("README.md").write_text("# breastus\n")
    results.main()
    record = Path("experiments", "records", "networks", "cnn-0")
    assert str(tiny_run.path.parent) not in (record / "config.yaml").read_text()
    assert tiny_run.config.data.source not in (record / "config.yaml").read_text()
    before = Path("experiments", "RESULTS.md").read_text()
    shutil.rmtree(Path("runs", "networks"))
    results.main()
    assert Path("experiments", "RESULTS.md").read_text() == before


def test_a_command_is_one_that_can_be_given(results, tiny_run, monkeypatch):
    shutil.copytree(tiny_run.path, Path("runs", "leakage", "group-0"))
    file = Path("runs", "leakage", "group-0", "environment.json")
    environment = json.loads(file.read_text()) | {"command": "leakage.py --data /x/busi --seeds 5"}
    file.write_text(json.dumps(environment))
    monkeypatch.setattr("sys.argv", ["results.py"])
    Path("README.md").write_text("# breastus\n")
    results.main()
    text = Path("experiments", "RESULTS.md").read_text()
    assert "Command: `python -m experiments.recipes.leakage --data ... --seeds 5`" in text


def test_seeds_of_other_settings_are_no_seeds_of_a_variant(results, tiny_run, monkeypatch):
    for seed, epochs in enumerate((2, 3)):
        run = Path("runs", "networks", f"cnn-{seed}")
        shutil.copytree(tiny_run.path, run)
        changed = tiny_run.config.replace({"seed": seed, "training": {"epochs": epochs}})
        (run / "config.yaml").write_text(changed.to_yaml())
    monkeypatch.setattr("sys.argv", ["results.py"])
    with pytest.raises(results.RunError, match=r"networks/cnn.*training.epochs.*seeds 0 and 1"):
        results.main()


def test_no_runs_are_an_error_that_leaves_the_files_alone(results, monkeypatch):
    monkeypatch.setattr("sys.argv", ["results.py"])
    with pytest.raises(results.RunError, match="no finished runs"):
        results.main()
    assert not Path("experiments", "RESULTS.md").exists()
