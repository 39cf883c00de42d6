"""Some of a new hospital's images are fitted on, the others are judged by; on known hospitals."""

import json

import numpy as np
import pytest
from prediction_tables import hospital
from report_sections import recalibration_section
from sklearn.metrics import brier_score_loss

from breastus.config.schema import EvaluationConfig
from breastus.errors import ConfigError, DataError, FewGroupsWarning
from breastus.evaluation.calibration.recalibration_study import (
    held_out_after,
    recalibration_study,
    sample_groups,
)
from breastus.reporting.texts import recalibration_summary
from breastus.utils.files import jsonable

SETTINGS = EvaluationConfig(resamples=100)


def test_where_hospitals_differ_it_helps_and_says_so():
    table = hospital(intercept=-2)
    found = recalibration_study(table, SETTINGS, images=120, seed=1)
    assert found["sample"]["n"] == 120
    assert found["held_out"]["n"] == 280
    assert found["difference"]["brier"]["ci_high"] < 0
    assert found["difference"]["ece"]["value"] < -0.1
    assert abs(found["after"]["calibration_intercept"]["value"]) < 0.7
    assert found["difference"]["roc_auc"]["value"] == pytest.approx(0, abs=1e-12)
    assert "better calibrated here" in recalibration_summary(found)
    text = json.dumps(jsonable(found), allow_nan=False)
    html = recalibration_section(json.loads(text), patients_known=True)
    assert html == recalibration_section(found, patients_known=True)
    assert "better" in html
    assert "patients are unknown" not in html
    after = held_out_after(table, json.loads(text))
    assert not set(after["image_id"]) & set(found["sample"]["image_ids"])
    assert set(after["threshold"]) == {found["decision"]["threshold"]}


def test_only_the_other_images_are_scored():
    table = hospital(intercept=-2)
    found = recalibration_study(table, SETTINGS, images=120, seed=1)
    others = table[~table["image_id"].isin(found["sample"]["image_ids"])]
    lump = others["label"] == "lump"
    expected = brier_score_loss(lump, others["probability"])
    assert found["before"]["brier"]["value"] == pytest.approx(expected)
    after = held_out_after(table, found)
    assert after["image_id"].tolist() == others["image_id"].tolist()
    expected = brier_score_loss(lump, after["probability"])
    assert found["after"]["brier"]["value"] == pytest.approx(expected)


def test_patients_are_drawn_whole_by_the_seed():
    groups = np.array([f"p{n % 80}" for n in range(400)])
    taken = sample_groups(groups, 58, seed=1)
    assert taken.sum() == 60
    assert len(set(groups[taken])) == 12
    assert not set(groups[taken]) & set(groups[~taken])
    assert (sample_groups(groups, 58, seed=1) == taken).all()
    assert (sample_groups(groups, 58, seed=2) != taken).any()


@pytest.mark.filterwarnings("ignore:Every conformal set contains")
def test_few_groups_are_warned_of_and_have_no_curve():
    table = hospital(60, patients=12)
    with pytest.warns(
        FewGroupsWarning, match=r"\(--recalibrate\) is unreliable .* Choose a larger"
    ):
        found = recalibration_study(table, SETTINGS, images=15, seed=0)
    assert found["sample"]["n_groups"] == 3
    few = table.assign(
        finding="unknown",
        label=np.where(table["group_id"].isin(["p0", "p1", "p2"]), "lump", "no_lump"),
    )
    # A seed that draws one of the three patients with lumps, and leaves two.
    seed = next(s for s in range(99) if (few["label"] == "lump")[drawn(few, s)].sum() == 5)
    with pytest.warns(FewGroupsWarning, match="unreliable"):
        found = recalibration_study(few, SETTINGS, images=15, seed=seed)
    assert found["learning_curve"] is None
    html = recalibration_section(found, patients_known=False)
    assert "There is no learning curve. A learning curve needs four groups" in html
    assert "patients are unknown" in html
    assert "One class comes from only 1 patients or scenes" in html


def drawn(table, seed):
    return sample_groups(table["group_id"].to_numpy(), 15, seed=seed)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (0, ConfigError, r"\(--recalibrate\) must be a whole number from 1. Received: 0"),
        (2.5, ConfigError, "Received: 2.5"),
        (True, ConfigError, "Received: True"),
        (80, DataError, "must leave images to score, .* 80, .* Received: 80"),
        (500, DataError, "Choose another number, or name more data. Received: 500"),
        (79, DataError, "at least two patients or scenes of each class .* Received: 79"),
        (1, DataError, "both classes.* none is (no_)?lump. Choose a larger number.* Received: 1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        recalibration_study(hospital(80), SETTINGS, images=images, seed=0)
