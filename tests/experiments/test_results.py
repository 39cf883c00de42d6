"""The script that writes RESULTS.md and README.md says what the runs say, and no more."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from breastus.models.recipes import default_config
from breastus.models.registry import build_model, list_models

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


@pytest.mark.parametrize("name", ["leakage", "networks", "precision", "study"])
def test_a_recipes_variants_can_be_run(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    recipe = importlib.import_module(name)
    for network, settings in recipe.VARIANTS.values():
        assert network in list_models()
        default_config(network).replace(settings)
    if name == "networks":
        assert {network for network, _ in recipe.VARIANTS.values()} == set(list_models())


def test_text_goes_between_its_marks(results, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Title\n\n<!-- begin a -->\nold\n<!-- end a -->\n\nthe rest\n")
    results.write_between(path, "a", "new")
    results.write_between(path, "a", "newer")
    assert path.read_text() == ("# Title\n\n<!-- begin a -->\nnewer\n<!-- end a -->\n\nthe rest\n")
    results.write_between(path, "b", "more")
    assert path.read_text().endswith("the rest\n\n<!-- begin b -->\nmore\n<!-- end b -->\n")


def test_from_run_folders_to_both_files(results, tiny_run, monkeypatch):
    for variant in ("cnn-group-plain", "cnn-study-plain", "cnn-study-parula"):
        shutil.copytree(tiny_run.path, Path("runs", "study", f"{variant}-0"))
    shutil.copytree(tiny_run.path, Path("runs", "cnn"))  # no experiment's
    shutil.rmtree(Path("runs", "study", "cnn-study-parula-0", "bundle"))  # not finished
    Path("README.md").write_text("# breastus\n")
    monkeypatch.setattr("sys.argv", ["results.py"])
    results.main()
    text = Path("experiments", "RESULTS.md").read_text()
    assert text.count("| cnn-group-plain-0 |") == 1
    assert "cnn-study-parula" not in text
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


def test_no_runs_are_an_error_that_leaves_the_files_alone(results, monkeypatch):
    monkeypatch.setattr("sys.argv", ["results.py"])
    with pytest.raises(results.RunError, match="no finished runs"):
        results.main()
    assert not Path("experiments", "RESULTS.md").exists()
