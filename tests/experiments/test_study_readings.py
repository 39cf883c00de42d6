"""The readings of the study: one change each, twins found, and tables that can be recomputed."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import recall_score, roc_auc_score

from breastus.config.presets import default_config
from breastus.errors import RunError
from breastus.runs.run import Run
from experiments import readings, records, results, runner, twins
from experiments.recipes import study_readings
from experiments.recipes.study_readings import BEST, EXPERIMENT, SEEDS, VARIANTS
from experiments.records import Record


def settings_of(name):
    network, settings = VARIANTS[name]
    return default_config(network).replace(settings)


def test_each_change_of_the_best_reading_changes_what_its_name_says():
    changed = {
        "accuracy": {"training.checkpoint"},
        "last": {"training.checkpoint"},
        "augmented": {"augmentation.policy"},
        "trimmed": {"preprocessing.trim"},
        "padded": {"preprocessing.aspect"},
        "decay": {"training.weight_decay"},
        "float32": {"training.precision"},
        "parula": {"preprocessing.color"},
        "accuracy-parula": {"training.checkpoint", "preprocessing.color"},
        "scenes": {"data.groups"},
        "accuracy-scenes": {"training.checkpoint", "data.groups"},
        "parula-scenes": {"preprocessing.color", "data.groups"},
    }
    found = {
        name.removeprefix(f"{BEST}-"): {
            line.partition(":")[0] for line in settings_of(BEST).differences(settings_of(name))
        }
        for name in VARIANTS
        if name.startswith(f"{BEST}-")
    }
    assert found == changed


def test_a_reading_keeps_the_protocol_of_the_study():
    for name in VARIANTS:
        config, study = settings_of(name), default_config("cnn")
        for setting in ("epochs", "batch_size", "optimizer", "learning_rate"):  # Table II
            assert getattr(config.training, setting) == getattr(study.training, setting), name
        assert config.data.split == "study"
        assert (config.evaluation.threshold, config.evaluation.calibration) == (0.5, "none")


# === Tables from records made by hand ===


def record(name, seed, table):
    rows = table.assign(split="test", label=np.where(table["truth"], "lump", "no_lump"))
    preprocessing = {"preprocessing": {"color": "plain"}}
    facts = {"run": f"{name}-{seed}", "variant": name, "seed": seed, "settings": preprocessing}
    return Record({**facts, "data_fingerprint": f"split {seed}"}, rows)


@pytest.fixture
def made(monkeypatch):
    """Two runs of three outputs, with their twins."""
    rng = np.random.default_rng(1)
    tables = []
    for seed in range(2):
        truth = np.repeat([0, 1], [30, 60])
        probability = np.clip(0.3 * truth + rng.uniform(0, 0.7, 90), 0, 1)
        ids = [f"x/{seed}-{number}" for number in range(90)]
        share = rng.uniform(size=90)
        columns = {"image_id": ids, "truth": truth, "probability": probability}
        tables.append(pd.DataFrame({**columns, "malignant_share": share}))
    found = {f"split {n}": dict.fromkeys(t["image_id"][::3], "y") for n, t in enumerate(tables)}
    monkeypatch.setattr(readings, "read_twins", lambda experiment: found)
    return {BEST: [record(BEST, seed, table) for seed, table in enumerate(tables)]}, tables


def rows_of(lines):
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| findings")]
    return [row[1:] for row in cells]


def test_the_likeliest_output_is_the_predicted_class(made):
    variants, (table, _) = made
    images = readings.predictions(variants[BEST][0])
    p, share = table["probability"], table["malignant_share"]
    three = np.stack([1 - p, p * (1 - share), p * share], axis=1)
    expected = (three.argmax(axis=1) > 0).astype(int)
    assert images["predicted"].tolist() == expected.tolist()
    assert ((p > 0.5) & (expected == 0)).any()  # a sum above 0.5 need not be the likeliest


def test_scores_with_and_without_twins_equal_scikit_learn(made):
    variants, _ = made
    scores, by_twin = rows_of(readings.readings_tables(variants))
    images = [readings.predictions(one) for one in variants[BEST]]
    areas = [roc_auc_score(one["truth"], one["probability"]) for one in images]
    assert scores[1] == f"{np.mean(areas):.2f} ({min(areas):.2f} to {max(areas):.2f})"
    recalls = [recall_score(one["truth"], one["predicted"]) for one in images]
    assert scores[2] == f"{np.mean(recalls):.2f} ({min(recalls):.2f} to {max(recalls):.2f})"

    both = pd.concat(images, ignore_index=True)
    both["twin"] = np.tile(np.arange(90) % 3 == 0, 2)
    expected = [
        f"{(rows['predicted'] == value).sum()} of {len(rows)}"
        for value in (0, 1)
        for twin in (True, False)
        for rows in [both[(both["truth"] == value) & (both["twin"] == twin)]]
    ]
    assert by_twin[:4] == expected
    seen = [one[::3] for one in images]
    area = np.mean([roc_auc_score(one["truth"], one["probability"]) for one in seen])
    assert by_twin[4] == f"{area:.2f}"


def test_runs_within_the_published_intervals_are_counted():
    truth = np.repeat([0, 1], [100, 100])
    # Published: sensitivity 0.79 (0.69 to 0.87), specificity 0.81 (0.62 to 0.91).
    for right, inside in ((80, "1 of 1"), (95, "0 of 1")):
        correct = np.tile(np.arange(100) < right, 2)
        probability = np.where(correct == (truth == 1), 0.9, 0.1)
        columns = {"image_id": [f"x/{n}" for n in range(200)], "truth": truth}
        table = pd.DataFrame({**columns, "probability": probability})
        variants = {BEST: [record(BEST, 0, table)]}
        (scores,) = rows_of(readings.readings_tables(variants))
        assert scores[-1].rstrip(" |") == inside


def test_without_a_search_for_twins_there_is_no_row(made, monkeypatch):
    monkeypatch.setattr(readings, "read_twins", lambda experiment: {})
    variants, _ = made
    assert len(rows_of(readings.readings_tables(variants))) == 1
    assert set(readings.draw_figures(variants)) == {"seeds"}


def points(axis, marker):
    """Return the x values that an axis draws with a marker, from the top."""
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [line.get_xdata().tolist() for line in lines]


@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_the_figure_shows_each_seed_beside_the_published_value(made, form):
    variants, _ = made
    images = [readings.predictions(one) for one in variants[BEST]]
    figure = readings.draw_figures(variants)["seeds"][form]
    for axis, value, published in zip(figure.axes, (1, 0), (52 / 66, 21 / 26), strict=True):
        values = [recall_score(one["truth"], one["predicted"], pos_label=value) for one in images]
        assert points(axis, "o") == [pytest.approx(values)]
        assert points(axis, "|") == [[pytest.approx(np.mean(values))]]
        (line,) = [line for line in axis.lines if line.get_linestyle() == "--"]
        assert line.get_xdata().tolist() == pytest.approx([published, published])
        assert f"published {published:.2f}" in [text.get_text() for text in axis.texts]


def test_the_figure_of_twins_shows_what_the_table_counts(made):
    variants, tables = made
    apart = record(f"{BEST}-scenes", 2, tables[0])
    variants[f"{BEST}-scenes"] = [apart]
    readings.read_twins("")["split 2"] = {}  # searched, and none found
    figure = readings.draw_figures(variants)["twins"]["wide"]
    both = pd.concat([readings.predictions(one) for one in variants[BEST]], ignore_index=True)
    both["twin"] = np.tile(np.arange(90) % 3 == 0, 2)
    for axis, value in zip(figure.axes, (0, 1), strict=True):
        shares = [
            (rows["predicted"] == value).mean()
            for twin in (True, False)
            for rows in [both[(both["truth"] == value) & (both["twin"] == twin)]]
        ]
        alone = readings.recall(readings.predictions(apart), value)
        drawn = [x for (x,) in points(axis, "o")]
        assert drawn == pytest.approx([*shares, *shares, alone])  # all runs, and each variant
        texts = {text.get_text() for text in axis.texts}
        assert {f"{share:.2f}" for share in shares} <= texts
    names = {text.get_text() for text in figure.axes[0].texts}
    assert {"2 runs", "3 outputs, 0 to 255", "scene-disjoint split"} <= names


def test_a_run_of_an_earlier_version_holds_no_twins(tiny_run, tmp_path, monkeypatch):
    folder = tmp_path / "runs" / EXPERIMENT / "x-0"
    shutil.copytree(tiny_run.path, folder)
    run = Run(folder)
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    (tmp_path / "records" / EXPERIMENT).mkdir(parents=True)
    monkeypatch.setattr(records, "recorded_runs", lambda experiment: {"x-0"})
    twins.write_twins(EXPERIMENT)  # this split keeps groups together
    assert readings.read_twins(EXPERIMENT) == {run.environment["data_fingerprint"]: {}}
    run.write_config(run.config.replace({"data": {"groups": "ignore"}}))
    with pytest.raises(RunError, match="x-0 does not hold the twins of its split"):
        twins.write_twins(EXPERIMENT)


# === From images to the page ===


@pytest.fixture
def scenes(tmp_path, write_image):
    """Images of 12 scenes of lumps and 9 of normal tissue; each scene has two images."""
    rows = []
    for scene in range(21):
        finding = "normal" if scene < 9 else ("benign", "malignant")[scene % 2]
        path = write_image(tmp_path / "scans" / f"{scene}-a.png", scene)
        pixels = np.asarray(Image.open(path)).astype(int)
        copy = path.with_name(f"{scene}-b.png")
        Image.fromarray(np.clip(pixels + 6, 0, 255).astype(np.uint8)).save(copy)
        rows += [(file.relative_to(tmp_path), finding) for file in (path, copy)]
    table = pd.DataFrame(rows, columns=["image", "finding"])
    table.to_csv(tmp_path / "scenes.csv", index=False)
    return tmp_path / "scenes.csv"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_recipe_trains_records_and_draws(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    sizes = {"lump": (12, 6, 6), "no_lump": (8, 4, 4)}
    monkeypatch.setattr("breastus.data.splits.study.STUDY_SIZES", sizes)

    def train_here(jobs, parallel):
        for job in jobs:
            runner._train(job)
            runner.record_run(job.experiment, Run(job.out))

    monkeypatch.setattr(runner, "_train_all", train_here)
    small = {"model.image_size": 32, "training.epochs": 2, "training.batch_size": 8}
    small |= {"evaluation.resamples": 100, "training.precision": "float32"}
    names = (BEST, f"{BEST}-scenes", "labels-zscore")
    variants = {
        name: ("cnn", settings_of(name).replace(small).to_dict() | {"seed": 0}) for name in names
    }
    command = ["study_readings.py", "--data", str(scenes), "--seeds", "1"]
    monkeypatch.setattr("sys.argv", command)
    for _ in range(2):  # the second time everything is finished
        runner.run(study_readings.__doc__, EXPERIMENT, variants, seeds=SEEDS)
        twins.write_twins(EXPERIMENT)

    found = json.loads((tmp_path / "records" / EXPERIMENT / twins.TWINS).read_text())
    runs = {one.variant: one for one in records.read_records(EXPERIMENT)}
    crossing, scenes_apart = (found[runs[name].facts["data_fingerprint"]] for name in names[:2])
    assert crossing
    assert not scenes_apart
    tested = set(runs[BEST].split("test")["image_id"])
    trained = Run(tmp_path / "runs" / EXPERIMENT / f"{BEST}-0").read_splits()
    trained = set(trained.loc[trained["split"] == "train", "image_id"])
    for image, twin in crossing.items():
        assert image in tested
        assert twin in trained
        assert image[:-1] == twin[:-1]  # two images of one scene
    results.main()
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count(f"| {BEST} |") >= 2
    assert "Recorded of fewer than 10 seeds" in page
    drawn = readings.draw_figures(results.recorded()[EXPERIMENT])
    assert set(drawn) == {"seeds", "twins"}
