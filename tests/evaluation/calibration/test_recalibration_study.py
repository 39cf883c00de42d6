"""Some of a new hospital's images are fitted on, the others are judged by; on known hospitals."""

import json

import numpy as np
import pandas as pd
import pytest

from breastus.config.schema import EvaluationConfig
from breastus.errors import ConfigError, DataError
from breastus.evaluation.calibration.logistic import sigmoid
from breastus.evaluation.calibration.prevalence import prevalence_estimate, prevalence_section
from breastus.evaluation.calibration.recalibration_study import (
    FewGroupsWarning,
    draw_groups,
    recalibration_study,
    rest_after,
)
from breastus.reporting.figures.plots import plot_reliability, save_figure
from breastus.reporting.recalibration_section import recalibration_lead, recalibration_section
from breastus.utils.files import jsonable

SETTINGS = EvaluationConfig(resamples=100)


def hospital(count=400, *, intercept=0.0, slope=1.0, patients=None, seed=0):
    """Predictions where the truth follows sigmoid(slope * z + intercept) of the model's logit z."""
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=2, size=count)
    truth = rng.random(count) < sigmoid(slope * z + intercept)
    label = np.where(truth, "lump", "no_lump")
    return pd.DataFrame(
        {
            "image_id": [f"other/{n}" for n in range(count)],
            "split": "test",
            "group_id": [f"p{n % (patients or count)}" for n in range(count)],
            "finding": np.where(truth, "benign", "normal"),
            "label": label,
            "predicted": np.where(z >= 0, "lump", "no_lump"),
            "probability": sigmoid(z),
            "raw": sigmoid(z),
            "threshold": 0.5,
        }
    )


def test_where_hospitals_differ_it_helps_and_says_so():
    table = hospital(intercept=-2)
    found = recalibration_study(table, SETTINGS, images=120, seed=1)
    assert found["drawn"]["n"] == 120
    assert found["rest"]["n"] == 280
    assert found["difference"]["brier"]["ci_high"] < 0
    assert found["difference"]["ece"]["value"] < -0.1
    assert abs(found["after"]["calibration_intercept"]["value"]) < 0.7
    assert found["difference"]["roc_auc"]["value"] == pytest.approx(0, abs=1e-12)
    assert "mean more here than they did" in recalibration_lead(found)
    text = json.dumps(jsonable(found), allow_nan=False)
    html = recalibration_section(json.loads(text), {}, patients_known=True)
    assert html == recalibration_section(found, {}, patients_known=True)
    assert "better" in html
    assert "Patients are not known" not in html
    after = rest_after(table, json.loads(text))
    assert not set(after["image_id"]) & set(found["drawn"]["image_ids"])
    assert set(after["threshold"]) == {found["decision"]["threshold"]}


def test_patients_are_drawn_whole_by_the_seed():
    groups = np.array([f"p{n % 80}" for n in range(400)])
    taken = draw_groups(groups, 58, seed=1)
    assert taken.sum() == 60
    assert len(set(groups[taken])) == 12
    assert not set(groups[taken]) & set(groups[~taken])
    assert (draw_groups(groups, 58, seed=1) == taken).all()
    assert (draw_groups(groups, 58, seed=2) != taken).any()


@pytest.mark.filterwarnings("ignore:Every set holds")
def test_few_groups_are_warned_of_and_have_no_curve(tmp_path):
    table = hospital(60, patients=12)
    with pytest.warns(
        FewGroupsWarning, match=r"\(--recalibrate\) follows chance .* Choose a larger"
    ):
        found = recalibration_study(table, SETTINGS, images=15, seed=0)
    assert found["drawn"]["n_groups"] == 3
    few = table.assign(
        finding="unknown",
        label=np.where(table["group_id"].isin(["p0", "p1", "p2"]), "lump", "no_lump"),
    )
    # A seed that draws one of the three patients with lumps, and leaves two.
    seed = next(s for s in range(99) if (few["label"] == "lump")[drawn(few, s)].sum() == 5)
    with pytest.warns(FewGroupsWarning, match="follows chance"):
        found = recalibration_study(few, SETTINGS, images=15, seed=seed)
    assert found["curve"] is None
    figure = plot_reliability(rest_after(few, found))
    html = recalibration_section(
        found, {"said and so": save_figure(figure, tmp_path / "a.png")}, patients_known=False
    )
    assert "There is no learning curve. A learning curve needs four groups" in html
    assert "Patients are not known here" in html
    assert "One class came from 1 of them only" in html


def drawn(table, seed):
    return draw_groups(table["group_id"].to_numpy(), 15, seed=seed)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (0, ConfigError, r"\(--recalibrate\) must be a whole number of images from 1. Received: 0"),
        (2.5, ConfigError, "Received: 2.5"),
        (True, ConfigError, "Received: True"),
        (80, DataError, "must leave images to judge by: fewer than all 80 .* Received: 80"),
        (500, DataError, "Choose another number, or name more data. Received: 500"),
        (79, DataError, "at least two patients or scenes of each class .* Received: 79"),
        (1, DataError, "both classes.* none is (no_)?lump. Choose a larger number.* Received: 1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        recalibration_study(hospital(80), SETTINGS, images=images, seed=0)


def test_another_prevalence_is_estimated_and_told_from_another_hospital():
    rng = np.random.default_rng(3)
    truth = rng.random(1500) < 0.2
    score = rng.normal(size=1500) + 2 * truth - 1  # twice it is the log of the likelihood ratio
    table = hospital(1500).assign(
        label=np.where(truth, "lump", "no_lump"), probability=sigmoid(2 * score + np.log(0.6 / 0.4))
    )
    found = prevalence_estimate(table, training_prevalence=0.6, settings=SETTINGS, seed=0)
    assert found["estimate"]["ci_low"] < truth.mean() < found["estimate"]["ci_high"]
    assert found["adjusted"]["log_loss"] < found["as_it_came"]["log_loss"]
    assert abs(found["adjusted"]["calibration_intercept"]) < 0.2
    html = prevalence_section(json.loads(json.dumps(jsonable(found), allow_nan=False)))
    assert "within the interval" in html
    assert "nothing in this report or in the bundle is adjusted by it" in html
    other = table.assign(label=np.where(rng.random(1500) < 0.8, "lump", "no_lump"))
    found = prevalence_estimate(other, training_prevalence=0.6, settings=SETTINGS, seed=0)
    assert "more than the prevalence has changed" in prevalence_section(found)


def test_nothing_to_estimate_from_is_still_a_page():
    for table, share in ((hospital(20).assign(probability=0.3), 0.3), (hospital(20), 1.0)):
        found = prevalence_estimate(table, training_prevalence=share, settings=SETTINGS, seed=0)
        assert np.isnan(found["estimate"]["value"])
        html = prevalence_section(json.loads(json.dumps(jsonable(found))))
        assert "cannot be estimated" in html
        assert "nan" not in html
