"""Controls: a model that looks at the image and one that does not get different verdicts."""

import numpy as np
import pytest
from fake_vlm import FakeVlm, blind, sighted
from sklearn.metrics import roc_auc_score

from breastus.errors import DataError
from breastus.evaluation.options import EvaluationOptions
from breastus.reporting.vlm_texts import controls_summary
from breastus.vlm.asking import Vlm
from breastus.vlm.controls import run_controls, swapped_images
from breastus.vlm.pixels import noise_image

OPTIONS = EvaluationOptions(resamples=200)
COUNT = 80


@pytest.fixture(scope="module")
def images():
    """Labels, groups of two and images, [80]: a lump is a darker middle, against noise."""
    random = np.random.default_rng(3)
    groups = np.arange(COUNT) // 2
    y_true = (groups % 3 > 0).astype(int)
    pixels = random.integers(60, 140, (COUNT, 48, 48, 1))
    depth = 12 * y_true + random.normal(0, 8, COUNT)
    pixels[:, 16:32, 16:32] = pixels[:, 16:32, 16:32] - depth[:, None, None, None].astype(int)
    return y_true, groups, np.repeat(pixels.clip(0, 255).astype(np.uint8), 3, axis=-1)


def _controls(images, model):
    y_true, groups, pixels = images
    vlm = Vlm(model, prompts="study", reports=False)
    return run_controls(
        y_true,
        groups,
        np.stack([vlm.log_odds(image) for image in pixels]),
        blank=vlm.blank_log_odds(),
        noise=np.stack([vlm.log_odds(noise_image(48, seed)) for seed in range(len(pixels))]),
        options=OPTIONS,
    )


def test_a_model_that_looks_is_told_from_one_that_does_not(images):
    looks, does_not = _controls(images, FakeVlm(sighted)), _controls(images, FakeVlm(blind))
    assert (looks["verdict"], does_not["verdict"]) == ("looks", "blind")
    assert "depend on the image: swapped" in controls_summary(looks)
    assert "do not depend on the image" in controls_summary(does_not)


def test_differences_are_those_of_the_roc_auc(images):
    y_true, _, pixels = images
    found = _controls(images, FakeVlm(sighted))
    own = np.array([sighted(image) for image in pixels])
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(y_true, own))
    for name, area in (("blank", 0.5), ("noise", found["noise"]["roc_auc"])):
        assert found[name]["roc_auc"] == area
        assert found[name]["difference"] == pytest.approx(found["roc_auc"]["value"] - area)
        assert found[name]["ci_low"] < found[name]["difference"] < found[name]["ci_high"]
    assert found["shuffled"]["p_value"] < 0.01
    assert found["shuffled"]["low"] < 0.5 < found["shuffled"]["high"]


def test_answers_that_vary_without_the_label_are_no_proof(images):
    # As random weights answer: they depend on the pixels, and not on the lump.
    found = _controls(images, FakeVlm(lambda image: float(image[:8].sum() % 97) / 10 - 5))
    assert found["spread"] > 1
    assert found["verdict"] == "unrelated"
    assert found["shuffled"]["p_value"] > 0.01
    assert "not shown" in controls_summary(found)


def test_a_model_that_is_wrong_on_purpose_does_not_pass(images):
    found = _controls(images, FakeVlm(lambda image: -sighted(image)))
    assert found["verdict"] == "worse"


def test_the_order_of_the_options_is_measured(images):
    swayed = _controls(images, FakeVlm(sighted, first=3.0))["order"]
    assert swayed["difference"] == pytest.approx(3.0)
    assert swayed["same_label"]["value"] < 0.9
    steady = _controls(images, FakeVlm(sighted))["order"]
    assert steady["difference"] == pytest.approx(0.0, abs=1e-9)
    assert steady["same_label"]["value"] == 1


def test_one_class_has_no_verdict(images):
    y_true, groups, pixels = images
    lumps = y_true == 1
    found = _controls((y_true[lumps], groups[lumps], pixels[lumps]), FakeVlm(sighted))
    assert found["verdict"] == "undetermined"
    assert "too few" in controls_summary(found)


def test_swapped_images_come_from_other_groups():
    groups = np.repeat(np.arange(10), [30, *[1] * 9])
    for seed in range(5):
        partner = swapped_images(groups, seed=seed)
        assert (groups[partner] != groups).all()


def test_images_of_one_group_cannot_be_swapped():
    odds = np.zeros((4, 1, 2))
    with pytest.raises(DataError, match="one group"):
        run_controls([0, 1, 0, 1], ["a"] * 4, odds, blank=odds[0], noise=odds)
