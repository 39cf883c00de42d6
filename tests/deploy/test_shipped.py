"""The model that ships with the repository is whole, small, and says what it learned from."""

import pytest

from breastus.deploy.bundle import Bundle, shipped_bundle
from breastus.deploy.predictor import Predictor
from breastus.phantoms.simulation import simulate_phantom


@pytest.fixture(scope="module")
def bundle():
    return Bundle.load(shipped_bundle())  # it checks every file


def test_its_card_says_what_it_is(bundle):
    card = (bundle.path / "MODEL_CARD.md").read_text()
    assert "Licence of busi: CC0" in card
    assert "Licence of the ImageNet weights: Apache 2.0" in card
    trained = bundle.metadata["trained_on"]
    assert (trained["sources"], trained["phantom"]) == ({"busi": 673}, False)
    assert bundle.network.stat().st_size < 20e6


def test_it_answers(bundle):
    predictor = Predictor(bundle.path)
    phantom = simulate_phantom(0, 0, finding="benign").image[..., None].repeat(3, axis=-1)
    found = predictor(phantom)
    assert found.label in ("lump", "no_lump")
    assert 0 < found.probability < 1
    assert found.threshold == bundle.metadata["threshold"]
