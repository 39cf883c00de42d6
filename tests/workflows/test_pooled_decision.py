"""Several runs on one data set: which labels influence how a test image is classified."""

import numpy as np
import pandas as pd
import pytest

from breastus.config.schema import Config
from breastus.errors import RunError
from breastus.evaluation.decision.conformal import coverage_report
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import LABELS
from breastus.runs.run import Run
from breastus.workflows.cross_validate import fold_predictions
from breastus.workflows.pooled_decision import (
    check_consistent,
    fit_pooled_decision,
    mean_predictions,
    out_of_fold_predictions,
    splits_overlap,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined

GROUPS = 60  # of two images each
FINDINGS = ("normal", "benign")
CONFIG = Config.from_dict({"evaluation": {"coverage": 0.7, "calibration": "platt"}})


def images(seed=0):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(GROUPS), 2)
    lump = (group % 5 < 3).astype(int)
    return pd.DataFrame(
        {
            "image_id": [f"site/{number:03d}" for number in range(2 * GROUPS)],
            "group_id": [f"site/{number:03d}" for number in 2 * group],
            "finding": np.array(FINDINGS)[lump],
            "label": np.array(LABELS)[lump],
            "probability_uncalibrated": 1
            / (1 + np.exp(1 - 2 * lump + rng.normal(size=2 * GROUPS) * 1.5)),
            "number": group,
        }
    )


def write_run(path, table, part_of, seed):
    """Write what is read of a run whose parts are (group number) -> split."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(CONFIG.replace({"seed": seed}).to_yaml())
    table = table.assign(
        split=table["number"].map(part_of), probability=table["probability_uncalibrated"]
    )
    table = table.assign(predicted=table["label"]).drop(columns="number")
    for split in ("val", "test"):
        rows = table[table["split"] == split]
        rows.to_csv(path / f"predictions_{split}.csv", index=False)
    return Run(path)


def write_folds(folder, *, folds=4, repeats=1, val_rotations=1):
    """Write the runs of a cross-validation, whose networks differ by noise."""
    runs = []
    for repeat, fold, rotation in np.ndindex(repeats, folds, val_rotations):
        fold_of = np.random.default_rng(repeat).permutation(GROUPS) % folds
        parts = {fold: "test", (fold + 1 + rotation) % folds: "val"}
        noise = np.random.default_rng([repeat, fold, rotation]).uniform(0.8, 1, 2 * GROUPS)
        table = images()
        runs.append(
            write_run(
                folder / f"{repeat}-{fold}-{rotation}",
                table.assign(probability_uncalibrated=table["probability_uncalibrated"] * noise),
                lambda number, of=fold_of, parts=parts: parts.get(of[number], "train"),
                seed=repeat,
            )
        )
    return runs


def turned(runs, image_ids):
    """Turn the labels of images around, wherever they stand."""
    for run in runs:
        for split in ("val", "test"):
            file = run.path / f"predictions_{split}.csv"
            table = pd.read_csv(file)
            here = table["image_id"].isin(image_ids)
            for column, (one, other) in (("label", LABELS), ("finding", FINDINGS)):
                new = table[column].replace({one: other, other: one})
                table[column] = table[column].where(~here, new)
            table.to_csv(file, index=False)


def outcomes(called, image_ids):
    """Return all that is made of some images, but for their truth."""
    here = called.table["image_id"].isin(image_ids).to_numpy()
    columns = ["image_id", "probability_uncalibrated", "probability", "threshold", "predicted"]
    return called.table.loc[here, columns].reset_index(drop=True), called.sets.held[here]


@pytest.mark.parametrize(
    ("repeats", "val_rotations"),
    [
        pytest.param(1, 1, marks=pytest.mark.slow),
        pytest.param(1, 3, marks=pytest.mark.slow),
        pytest.param(2, 1, marks=pytest.mark.slow),
        (2, 2),
    ],
)
def test_labels_of_a_fold_have_no_share_in_how_its_images_are_called(
    tmp_path, repeats, val_rotations
):
    runs = write_folds(tmp_path, repeats=repeats, val_rotations=val_rotations)
    settings = CONFIG.evaluation
    assert splits_overlap(runs)
    before, whole = out_of_fold_predictions(runs, settings), fit_pooled_decision(runs, settings)
    fold = set(pd.read_csv(runs[0].path / "predictions_test.csv")["image_id"])
    turned(runs, fold)
    after = out_of_fold_predictions(runs, settings)
    for old, new in zip(outcomes(before, fold), outcomes(after, fold), strict=True):
        np.testing.assert_array_equal(new, old)
    # The labels were worth something: the bundle's own decision and that of other folds change.
    assert fit_pooled_decision(runs, settings).threshold != whole.threshold
    others = set(before.table["image_id"]) - fold
    assert not outcomes(before, others)[0].equals(outcomes(after, others)[0])


def test_of_one_cross_validation_it_is_what_its_report_is_made_of(tmp_path):
    runs = write_folds(tmp_path, val_rotations=2)
    called = out_of_fold_predictions(runs, CONFIG.evaluation)
    folds = [
        fold_predictions(runs[start : start + 2], CONFIG.evaluation)[0] for start in range(0, 8, 2)
    ]
    expected = pd.concat(folds).sort_values("image_id", ignore_index=True)
    pd.testing.assert_frame_equal(called.table, expected)
    assert called.decisions == 4
    assert set(called.networks) == {2}
    assert expected["threshold"].nunique() == 4


def test_what_is_referred_is_referred_by_the_decision_of_the_same_networks(tmp_path):
    runs = write_folds(tmp_path)
    called = out_of_fold_predictions(runs, CONFIG.evaluation)
    table, decided = called.table, called.sets.decide(called.table["probability"])
    for run in runs:
        own = pd.read_csv(run.path / "predictions_test.csv")["image_id"]
        here = table["image_id"].isin(own).to_numpy()
        sets = fit_pooled_decision([run], CONFIG.evaluation).conformal
        assert decided[here].tolist() == sets.decide(table["probability"][here]).tolist()
    report = coverage_report(
        *truth_and_probability(table),
        table["group_id"].tolist(),
        called.sets,
        threshold=table["threshold"].to_numpy(),
        confidence=0.95,
    )
    assert report["target_coverage"] == 0.7
    assert report["referred"]["value"] == pytest.approx((decided != table["predicted"]).mean())
    assert 0 < report["referred"]["value"] < 1


def test_seeds_of_one_split_are_called_by_one_decision(tmp_path):
    parts = ["test", "val", "train", "train"]
    runs = [
        write_run(tmp_path / str(seed), images(seed), lambda number: parts[number % 4], seed)
        for seed in range(3)
    ]
    assert not splits_overlap(runs)
    called = out_of_fold_predictions(runs, CONFIG.evaluation)
    whole = fit_pooled_decision(runs, CONFIG.evaluation).apply(mean_predictions(runs, "test"))
    pd.testing.assert_frame_equal(called.table, whole)
    assert (called.decisions, set(called.networks)) == (1, {3})


def test_splits_that_overlap_without_being_folds_go_by_the_same_rule(tmp_path):
    """A few groups are validation of one and test of the other; many are test of one alone."""
    first = {**dict.fromkeys(range(20), "test"), **dict.fromkeys(range(20, 40), "val")}
    second = {**dict.fromkeys(range(15, 35), "test"), **dict.fromkeys(range(40, 60), "val")}
    runs = [
        write_run(tmp_path / str(n), images(n), lambda number, of=of: of.get(number, "train"), n)
        for n, of in enumerate((first, second))
    ]
    assert splits_overlap(runs)
    before = out_of_fold_predictions(runs, CONFIG.evaluation)
    assert before.decisions == 3  # of the first's test alone, the second's alone, and both's
    tested = set(images().loc[images()["number"].between(15, 34), "image_id"])
    turned(runs, tested)
    after = out_of_fold_predictions(runs, CONFIG.evaluation)
    for old, new in zip(outcomes(before, tested), outcomes(after, tested), strict=True):
        np.testing.assert_array_equal(new, old)


def test_nothing_left_to_decide_by_is_said(tmp_path):
    parts = [{0: "test", 1: "val"}, {0: "val", 1: "test"}]
    for number in range(2, GROUPS):
        parts[0][number] = parts[1][number] = "train"
    both = [{**parts[0], 2: "test"}, {**parts[1], 2: "test"}]
    runs = [write_run(tmp_path / str(n), images(), of.get, n) for n, of in enumerate(both)]
    with pytest.raises(RunError, match=r"No decision can be fitted .* 2 runs tested it"):
        out_of_fold_predictions(runs, CONFIG.evaluation)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "label",
            "no_lump",
            r"one label\. Received: 'lump' and 'no_lump' of site/000 \(1 in all\)",
        ),
        ("group_id", "x", r"one group_id\. Received: 'site/000' and 'x' of site/000 \(1 in all\)"),
    ],
)
def test_runs_that_disagree_on_an_image_are_not_averaged(tmp_path, column, value, message):
    tables = [images(), images()]
    lump = tables[0]["number"] == 0
    for table in tables:
        table.loc[lump, ["label", "finding"]] = "lump", "benign"
    tables[1].loc[0, column] = value
    if column == "label":
        tables[1].loc[0, "finding"] = "normal"
    runs = [
        write_run(tmp_path / str(n), table, lambda number: ["test", "val"][number % 2], n)
        for n, table in enumerate(tables)
    ]
    with pytest.raises(RunError, match=message):
        mean_predictions(runs, "test")
    with pytest.raises(RunError, match=message):
        check_consistent(pd.concat(tables))


def test_networks_are_averaged_in_logits(tmp_path):
    runs = [
        write_run(
            tmp_path / str(number),
            images().assign(probability_uncalibrated=1 / (1 + np.exp(-logit))),
            lambda group: "val" if group % 2 else "test",
            seed=0,
        )
        for number, logit in enumerate((-1.0, -1.0, 5.0))
    ]
    for split in ("val", "test"):
        # The mean of the logits is 1; their median is -1, and the mean probability 0.51.
        found = mean_predictions(runs, split)["probability_uncalibrated"]
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-1.0)), rtol=1e-6)


def test_the_shift_of_a_pooled_decision_is_the_mean_of_the_runs(tmp_path, monkeypatch):
    runs = write_folds(tmp_path)
    shifts = dict(zip([run.path for run in runs], (0.0, 0.2, 0.3, 1.5), strict=True))
    name = "breastus.workflows.pooled_decision.prior_correction_of"
    monkeypatch.setattr(name, lambda run: shifts[run.path])
    settings = CONFIG.replace({"evaluation": {"calibration": "temperature"}}).evaluation
    assert fit_pooled_decision(runs, settings).calibrator.shift == pytest.approx(0.5)
