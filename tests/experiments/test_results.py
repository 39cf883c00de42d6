"""RESULTS.md is written from the records, and from nothing else."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from breastus.config.presets import default_config, pretraining_config
from breastus.errors import DataError, RunError
from breastus.evaluation.intervals.recipe import MIN_SEEDS
from breastus.evaluation.options import EvaluationOptions
from breastus.models import registry
from breastus.models.registry import build_model, list_models
from experiments import pages, records, results, runner

RECIPES = ("ablation", "leakage", "networks", "precision", "pretraining", "shortcuts", "study")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A function that writes the page from the records of a folder of its own; returns its text."""
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(results, "OPTIONS", EvaluationOptions(resamples=20))

    def write():
        results.main()
        return (tmp_path / "RESULTS.md").read_text()

    return write


@pytest.fixture
def add_record(page, tiny_run):
    """A function (experiment, run, **facts) that records the tiny run under another name."""
    facts = records.facts_of(tiny_run)
    tables = [tiny_run.read_predictions(split) for split in records.SPLITS]

    def add(experiment, run, **changes):
        variant, _, seed = run.rpartition("-")
        line = facts | {"run": run, "variant": variant, "seed": int(seed)} | changes
        table = pd.concat(tables).assign(run=run, fold=0)
        # No two models are alike.
        table["probability"] = (table["probability"] - 1e-9 * int(seed)).clip(lower=0)
        records.write_record(experiment, line, table)

    return add


def section(text, name):
    return text.partition(f"<!-- begin {name} -->")[2].partition(f"<!-- end {name} -->")[0]


def rows(text):
    """Cells of each table row by its first cell; the last one counts."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_an_experiment_is_compared_with_another_one(page, add_record):
    for experiment in ("networks", "precision"):
        for seed in range(5):
            add_record(experiment, f"cnn-{seed}")
    text = page()
    assert text.count("Difference from float32") == 1
    assert "| cnn | 5 | 0.00 |" in section(text, "precision")  # too few groups for an interval


def test_fewer_than_five_seeds_claim_no_difference(page, add_record):
    for experiment in ("networks", "precision"):
        for seed in range(4):
            add_record(experiment, f"cnn-{seed}")
    text = section(page(), "precision")
    assert "Difference from" not in text
    assert "No difference from float32 is claimed" in text
    assert "`cnn` (4)" in text


def test_runs_of_two_image_transforms_are_not_compared(page, add_record):
    for seed in range(5):
        add_record("networks", f"cnn-{seed}", transform=1)
        add_record("precision", f"cnn-{seed}", transform=2)
    with pytest.raises(RunError, match=r"same version of the image transform\. Received"):
        page()


@pytest.mark.parametrize(
    ("facts", "gap", "message"),
    [
        ({"record_version": 1}, None, r"must have the version 2\. Received: record_version=1"),
        ({"record_version": None}, None, r"Received: record_version=None"),
        ({"code_version": ""}, None, "must state code_version"),
        ({"transform": None}, None, "must state code_version and transform"),
        ({}, "threshold", "must not have gaps. Received: predictions without threshold"),
        ({}, "val", "Received: none of val"),
    ],
)
def test_a_record_of_another_version_or_with_gaps_is_refused(
    add_record, tiny_run, facts, gap, message
):
    add_record("networks", "cnn-0", **facts)
    path = records.RECORDS / "networks" / records.PREDICTIONS
    table = pd.read_parquet(path)
    if gap == "val":
        table = table[table["split"] == "test"]
    elif gap:
        table[gap] = np.nan
    table.to_parquet(path)
    with pytest.raises(RunError, match=message):
        records.read_records("networks")


@pytest.mark.parametrize("name", [*RECIPES, "study_readings"])
def test_the_variants_of_a_recipe_can_be_trained(name, monkeypatch):
    list_models()  # so that networks that a recipe registers come last, and are removed
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    recipe = results.recipe_of(name)
    for network, settings, *on in recipe.VARIANTS.values():
        assert network in list_models()
        default_config(network).replace(settings)
        for kind in on:
            pretraining_config(network, kind).replace(settings)
    if name == "networks":
        assert {network for network, _ in recipe.VARIANTS.values()} == set(list_models())


@pytest.mark.parametrize("name", [*RECIPES, "study_readings"])
def test_a_recipe_says_what_it_does_before_its_command(name):
    title, _, *text = pages.title_and_text(results.recipe_of(name).__doc__)
    assert title.startswith("## ")
    assert len(" ".join(text)) > 100
    assert "python -m" not in " ".join(text)


@pytest.mark.parametrize("name", [*RECIPES, "study_readings"])
def test_a_recipe_trains_as_many_seeds_as_a_difference_needs(name, monkeypatch, phantoms):
    recipe, jobs = results.recipe_of(name), []
    monkeypatch.setattr(runner, "_train_all", lambda todo, parallel: jobs.extend(todo))
    monkeypatch.setattr(runner, "RUNS", phantoms / "no runs")
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--data", str(phantoms)])
    settings = {} if results.seeds_of(name) == runner.SEEDS else {"seeds": recipe.SEEDS}
    runner.run(recipe.__doc__, name, recipe.VARIANTS, **settings)
    assert len(jobs) == len(recipe.VARIANTS) * results.seeds_of(name)
    assert results.seeds_of(name) >= MIN_SEEDS
    assert f"{len(jobs)} runs" in " ".join(recipe.__doc__.split())


def test_pretrained_networks_are_compared_with_random_weights(page, add_record):
    add_record("precision", "cnn-0")
    facts = {
        "on": "images",
        "images": 1234,
        "epochs": 7,
        "seconds": 90.0,
        "held_out_images_seen": 0,
    }
    add_record("pretraining", "cnn-images-0", pretraining=facts)
    text = section(page(), "pretraining")
    assert "No difference from random weights is claimed" in text
    assert "`cnn-images` (1)" in text
    assert "pretrained on images (1,234 images, 7 epochs, 1.5 minutes)" in text


def test_an_ablation_is_compared_with_its_base_and_decided_again(page, add_record, tiny_run):
    for variant in ("base", "focal", "cnn", "cnn-two-blocks"):
        for seed in range(5):
            add_record("ablation", f"{variant}-{seed}")
    text = section(page(), "ablation")
    differences = text[text.index("Difference from") : text.index("Other calibrations")]
    assert list(rows(differences))[1:] == ["cnn-two-blocks", "focal"]
    again = text[text.index("Other calibrations") : text.index("Cost")]
    assert again.count("| difference from `base` |") == len(results.REDECIDED["ablation"][1])
    test = tiny_run.read_predictions("test")
    called = np.where(test["probability"] >= 0.5, "lump", "no_lump")
    balanced = rows(again)["threshold 0.5"][1]
    assert balanced.startswith(f"{balanced_accuracy_score(test['label'], called):.2f} ± 0.00")


def test_only_recorded_runs_are_in_the_tables(page, add_record, tiny_run):
    for variant in ("cnn-group-plain", "cnn-study-plain"):
        add_record("study", f"{variant}-0")
    text = section(page(), "study")
    assert text.count("| cnn-group-plain-0 |") == 1
    assert "`cnn-study-parula` was not run" in text
    assert "`cnn-group-plain` 1 seed" in text
    cells = rows(text)
    assert cells["cnn-group-plain"][0] == f"{build_model('cnn', image_size=32).count_params():,}"
    balanced = tiny_run.metrics["test"]["balanced_accuracy"]["value"]
    assert cells["cnn-group-plain, 1 seed"][0] == "one trained model"
    assert cells["cnn-group-plain, 1 seed"][3].startswith(f"{balanced:.2f}")
    matrix = tiny_run.metrics["test"]["confusion_matrix"]
    assert json.loads(cells["cnn-group-plain-0"][0]) == matrix
    assert cells["published study, swin, parula"][1] == "92"


def test_a_record_holds_no_folders_and_replaces_an_earlier_one(page, tiny_run, monkeypatch):
    for _ in range(2):
        records.record_run("networks", tiny_run)
    (record,) = records.read_records("networks")
    folder = records.RECORDS / "networks"
    text = (folder / records.RUNS).read_text()
    assert str(tiny_run.path.parent) not in text
    assert tiny_run.config.data.source not in text
    assert record.seed == tiny_run.config.seed
    for split in records.SPLITS:
        expected = tiny_run.read_predictions(split)
        found = record.split(split)
        assert list(found.columns) == [*records.COLUMNS[:-1]]  # no findings
        for column in expected:
            assert found[column].tolist() == expected[column].tolist(), column
    history = record.facts["history"]
    assert history["val_loss"] == pytest.approx(tiny_run.history["val_loss"].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "leakage.py --data /x/busi --seeds 5",
            "python -m experiments.recipes.leakage --data ... --seeds 5",
        ),
        (
            "study.py --data busi --only a b --missing --jobs 2",
            "python -m experiments.recipes.study --data ... --jobs 2",
        ),
        ("bench --rivals /x/y/.venv-bench --only cnn", "bench --rivals .venv-bench"),
    ],
)
def test_a_recorded_command_can_be_given_on_any_machine(command, expected):
    assert records.recipe_command(command) == expected


def test_seeds_of_a_variant_have_the_same_settings(page, add_record, tiny_run):
    add_record("networks", "cnn-0")
    settings = tiny_run.config.replace({"training": {"epochs": 3}}).to_dict()
    add_record("networks", "cnn-1", settings=settings)
    with pytest.raises(RunError, match=r"networks/cnn.*seeds 0 and 1.*training.epochs"):
        page()


def test_a_copy_of_a_run_is_no_other_seed(page, add_record, tiny_run):
    add_record("networks", "cnn-0")
    table = pd.concat([tiny_run.read_predictions(split) for split in records.SPLITS])
    line = records.facts_of(tiny_run) | {"run": "cnn-1", "variant": "cnn", "seed": 1}
    records.write_record("networks", line, table.assign(run="cnn-1", fold=0))
    with pytest.raises(DataError, match="records/networks, cnn-0 and records/networks, cnn-1 with"):
        page()


def test_no_records_are_an_error_that_leaves_the_page_alone(page, tmp_path):
    with pytest.raises(RunError, match="holds no runs"):
        page()
    assert not (tmp_path / "RESULTS.md").exists()


def test_the_recorded_experiments_are_complete():
    """The records in this repository can be read, and their predictions agree with themselves."""
    found = records.experiments()
    assert set(RECIPES) - set(results.WITHDRAWN) <= set(found)
    for name in found:
        runs = records.read_records(name)
        assert set(results.by_variant(name, runs)) <= set(results.recipe_of(name).VARIANTS)
        for record in runs:
            test = record.split("test")
            called = np.where(test["probability"] >= test["threshold"], "lump", "no_lump")
            assert (called == test["predicted"]).all(), (name, record.name)
            assert record.facts["code_version"], record.name


@pytest.mark.slow
def test_the_committed_page_regenerates_from_the_committed_records(tmp_path, monkeypatch):
    text = pages.RESULTS.read_text(encoding="utf-8")
    emptied = re.sub(r"(<!-- begin (.+?) -->\n).*?(<!-- end)", _without_text, text, flags=re.DOTALL)
    (tmp_path / "RESULTS.md").write_text(emptied)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    results.main()
    assert (tmp_path / "RESULTS.md").read_text() == text


def _without_text(found):
    """Remove the text of a section unless it says that it has no records."""
    return found[0] if "Records: none kept" in found[0] else found[1] + found[3]


def test_every_section_has_records_or_says_that_it_has_none():
    text = pages.RESULTS.read_text(encoding="utf-8")
    written = dict(results.sections(results.recorded()))
    for name in re.findall(r"<!-- begin (.+?) -->", text):
        assert name in written or "Records: none kept" in section(text, name), name
    assert (
        {"networks", "benchmark", "intervals"}
        <= set(written)
        <= set(re.findall(r"<!-- begin (.+?) -->", text))
    )


def test_a_withdrawn_table_is_named_until_it_has_records(page, add_record):
    add_record("networks", "cnn-0")
    assert "**Withdrawn:** the tables of `leakage` and `shortcuts`" in page()
    add_record("leakage", "group-0")
    assert "**Withdrawn:** the tables of `shortcuts`." in page()
    add_record("shortcuts", "keep-0")
    assert "Withdrawn" not in section(page(), "reading")


def test_a_section_is_replaced_between_its_comments(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Title\n\n<!-- begin a -->\nold\n<!-- end a -->\n\nthe end\n")
    pages.write_section(path, "a", "new")
    pages.write_section(path, "a", "newer")
    assert path.read_text() == "# Title\n\n<!-- begin a -->\nnewer\n<!-- end a -->\n\nthe end\n"
    pages.write_section(path, "b", "more")
    assert path.read_text().endswith("the end\n\n<!-- begin b -->\nmore\n<!-- end b -->\n")


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0.7, 0.92), "0.85 (0.70 to 0.92)"),
        ((0.85, 0.85), "0.85 (no spread)"),
        ((None, None), "0.85"),
    ],
)
def test_a_score_is_shown_with_its_interval(bounds, expected):
    low, high = bounds
    score = {"value": 0.85, "ci_low": low, "ci_high": high}
    assert pages.format_score(score) == expected
    recipe = pages.format_score(score | {"seed_sd": 0.043})
    assert recipe == expected.replace("0.85", "0.85 ± 0.04", 1)
    assert pages.format_score(score | {"seed_sd": None}) == expected  # as in JSON
    assert pages.format_score({"value": float("nan"), "ci_low": 0, "ci_high": 1}) == "undefined"


def test_a_calibration_error_of_chance_shows_no_value():
    score = {"value": 0.001, "ci_low": 0.0, "ci_high": 0.05, "noise": 0.04}
    text = pages.format_score(score)
    assert text == "not distinguishable from 0 (0.00 to 0.05), noise 0.04"
    text = pages.format_score(score | {"value": 0.1, "ci_low": 0.06, "ci_high": 0.14})
    assert text == "0.10 (0.06 to 0.14), noise 0.04"
