"""A run whose split separates groups says how it scores with and without a twin in training."""

import shutil

import pytest
from PIL import Image

import breastus
from breastus.runs.run import Run
from breastus.workflows.evaluate import evaluate_run

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


@pytest.mark.slow
def test_the_report_has_the_scores_with_and_without(tiny_run, tmp_path):
    shutil.copytree(tiny_run.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.read_twins() is None
    assert "twin in training" not in run.report.read_text()
    tested = run.read_predictions("test")
    twins = tested[["image_id"]].iloc[::2].assign(duplicate_id="a training image")
    run.write_twins(twins)
    metrics = evaluate_run(run)
    with_, without = metrics["twins"]["attributes"][1]["subgroups"]
    assert (with_["n"], without["n"]) == (len(twins), len(tested) - len(twins))
    assert "Recall with and without a twin in training" in run.report.read_text()
    assert (run.figures / "twins.png").exists()
    run.write_twins(twins.iloc[:0])
    evaluate_run(run)
    assert "twin in training" not in run.report.read_text()
    assert not (run.figures / "twins.png").exists()


@pytest.mark.slow
def test_a_training_that_separates_groups_finds_its_twins(tiny_config, class_folders, tmp_path):
    folder = class_folders()
    for file in sorted(folder.rglob("*.png")):
        image = Image.open(file)
        image.crop((1, 1, *image.size)).save(file.with_name(f"{file.stem} again.png"))
    config = tiny_config.replace({"data": {"source": str(folder), "groups": "ignore"}})
    run = breastus.train("cnn", config=config, epochs=1, out=tmp_path / "run")
    splits = run.read_splits().set_index("image_id")["split"]
    trained = set(splits.index[splits == "train"])

    def other(image_id):
        end = " again"
        return image_id.removesuffix(end) if image_id.endswith(end) else image_id + end

    expected = {one for one in splits.index[splits == "test"] if other(one) in trained}
    assert expected
    assert set(run.read_twins()) == expected
    counts = [part["n"] for part in run.metrics["twins"]["attributes"][1]["subgroups"]]
    assert counts == [len(expected), (splits == "test").sum() - len(expected)]
