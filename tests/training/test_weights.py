"""What a network starts from is decided once, and stands in the run, its report and its card."""

import json
import re

import pytest

from breastus.errors import DataError, PretrainedWeightsWarning, WeightsError
from breastus.models import registry
from breastus.models.cnn import cnn
from breastus.models.registry import list_models, register_model
from breastus.models.weights.backbone_folder import check_scaling
from breastus.workflows.train import train

pytestmark = pytest.mark.filterwarnings("ignore:.*(Undefined|interval):UserWarning")


@pytest.fixture
def out_of_reach(monkeypatch):
    """A network whose ImageNet weights cannot be loaded, named `lonely`."""
    list_models()
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))

    @register_model("lonely")
    def lonely(*, num_classes, image_size, weights=None):
        if weights is not None:
            raise WeightsError("The weights cannot be loaded: no route to the hub.")
        return cnn(num_classes=num_classes, image_size=image_size)


@pytest.mark.slow
def test_auto_takes_random_weights_loudly(out_of_reach, tiny_config, tmp_path):
    config = tiny_config.replace({"model": {"weights": "auto"}})
    with pytest.warns(PretrainedWeightsWarning, match="starts with random weights.*no route"):
        run = train("lonely", config=config, out=tmp_path / "run")
    assert run.environment["weights"]["weights"] is None
    assert "no route to the hub" in run.environment["weights"]["reason"]
    assert run.config.model.weights == "auto"
    assert "started from random weights. The weights cannot be loaded" in re.sub(
        r"\s+", " ", (run.path / "report.html").read_text()
    )
    assert "Started from: random weights" in (run.bundle / "MODEL_CARD.md").read_text()
    info = json.loads((run.bundle / "bundle.json").read_text())
    assert info["trained_on"]["initial_weights"] is None


def test_weights_that_were_asked_for_are_not_replaced(out_of_reach, tiny_config, tmp_path):
    config = tiny_config.replace({"model": {"weights": "imagenet"}})
    with pytest.raises(WeightsError, match="no route to the hub"):
        train("lonely", config=config, out=tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.csv").exists()


def test_weights_for_z_scores_are_refused_with_another_scaling(tiny_config, tmp_path, monkeypatch):
    list_models()
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))

    @register_model("known")
    def known(*, num_classes, image_size, weights=None):
        return cnn(num_classes=num_classes, image_size=image_size)

    changes = {"model": {"weights": "auto"}, "preprocessing": {"scaling": "raw"}}
    with pytest.raises(WeightsError, match=r"scaling=zscore.*weights=null.*scaling=raw"):
        train("known", config=tiny_config.replace(changes), out=tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.csv").exists()


def test_weights_of_a_folder_are_for_the_scaling_that_it_names():
    facts = {"settings": {"preprocessing": {"scaling": "unit"}}}
    check_scaling("unit", "folder", facts)
    check_scaling("raw", None, None)  # random weights fit every scaling
    check_scaling("zscore", "folder", {"settings": {"preprocessing": {}}})  # of earlier versions
    with pytest.raises(WeightsError, match=r"scaling=unit.*Received: .*scaling=zscore"):
        check_scaling("zscore", "folder", facts)


def test_data_is_looked_for_before_weights_are_fetched(out_of_reach, tiny_config, tmp_path):
    config = tiny_config.replace({"model": {"weights": "imagenet"}})
    with pytest.raises(DataError, match=r"Received: nowhere, which does not exist"):
        train("lonely", data="nowhere", config=config, out=tmp_path / "run")
