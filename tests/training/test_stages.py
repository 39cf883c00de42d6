"""Head first, then everything; deeper layers at lower rates; resumed anywhere, the same end."""

import keras
import numpy as np
import pytest
from fitting import assert_equal, fit
from keras import layers

from breastus.config.schema import TrainingConfig
from breastus.errors import ConfigError, ModelError
from breastus.models.registry import build_model
from breastus.training.lesion_head import add_lesion_head
from breastus.training.network import compile_model
from breastus.training.optimizers import make_optimizer
from breastus.training.stages import BackboneFreezer, Stage, rate_factors, stages_of


def test_stages_cover_the_epochs():
    assert stages_of(TrainingConfig(epochs=5)) == [Stage(0, 5, False)]
    assert stages_of(TrainingConfig(epochs=5, head_epochs=2)) == [
        Stage(0, 2, True),
        Stage(2, 5, False),
    ]
    assert stages_of(TrainingConfig(epochs=5, head_epochs=5)) == [Stage(0, 5, True)]
    with pytest.raises(ConfigError, match=r"head_epochs must be at most training.epochs \(5\)"):
        stages_of(TrainingConfig(epochs=5, head_epochs=6))


def nested():
    """A network with a nested backbone of 24 dense layers and a batch norm that stays frozen."""
    inner = keras.Input((4,))
    x = inner
    for number in range(24):
        x = layers.Dense(4, name=f"inner_{number}")(x)
    x = layers.BatchNormalization(trainable=False, name="fixed")(x)
    backbone = keras.Model(inner, x, name="backbone")
    image = keras.Input((4,))
    x = layers.Activation("linear", name="features")(backbone(image))
    x = layers.Dense(3, name="hidden")(x)
    return keras.Model(image, layers.Dense(2, name="probabilities")(x), name="nested")


def test_freezing_leaves_the_head_and_gives_flags_back():
    model = nested()
    freezer = BackboneFreezer(model)
    before = [variable.path for variable in model.trainable_variables]
    freezer.freeze()
    paths = [variable.path for variable in model.trainable_variables]
    assert [path.split("/")[0] for path in paths] == ["hidden"] * 2 + ["probabilities"] * 2
    with freezer.released():
        assert [variable.path for variable in model.trainable_variables] == before
        assert not model.get_layer("backbone").get_layer("fixed").trainable
    assert len(model.trainable_variables) == 4
    freezer.release()
    assert [variable.path for variable in model.trainable_variables] == before
    with pytest.raises(ModelError, match=r"a layer named feature_map or features.*headless"):
        BackboneFreezer(keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="headless"))


def test_what_looks_at_the_maps_of_a_backbone_belongs_to_the_head():
    model = add_lesion_head(build_model("efficientnet_mil", image_size=64))
    BackboneFreezer(model).freeze()
    moving = {variable.path.split("/")[0] for variable in model.trainable_variables}
    own = {"cell_conv", "cell_norm", "local_conv", "local_norm", "lesion_logits", "probabilities"}
    assert moving == own
    compact = add_lesion_head(build_model("compact", image_size=64))
    BackboneFreezer(compact).freeze()
    moving = {variable.path.split("/")[0] for variable in compact.trainable_variables}
    assert moving == {"lesion_logits", "probabilities"}


def test_rates_decay_by_twelfths_of_the_layers_in_the_order_of_computation():
    model = nested()
    factors = dict(
        zip([v.path for v in model.trainable_variables], rate_factors(model, 0.5), strict=True)
    )
    # 25 layers with weights: 0 to 2 are the first twelfth.
    for number in range(24):
        group = number * 12 // 25
        assert factors[f"inner_{number}/kernel"] == 0.5 ** (12 - group)
        assert factors[f"inner_{number}/bias"] == 0.5 ** (12 - group)
    assert factors["hidden/kernel"] == factors["probabilities/bias"] == 1.0
    assert rate_factors(model, 1.0) is None


@pytest.mark.parametrize("name", ["resnet50", "swin_micro", "compact"])
def test_rates_rise_from_the_image_to_the_head_of_real_networks(name):
    model = build_model(name, image_size=224 if name == "swin_micro" else 32)
    factors = rate_factors(model, 0.8)
    assert len(factors) == len(model.trainable_variables)
    assert set(np.round(factors, 9)) == {round(0.8**power, 9) for power in range(13)}
    assert factors[0] == pytest.approx(0.8**12)
    assert factors[-1] == 1.0
    assert factors == sorted(factors)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("scaled", [False, True])
def test_factors_scale_the_update_and_the_decay(name, scaled):
    settings = TrainingConfig(optimizer=name, weight_decay=0.1, learning_rate=0.01, momentum=0.5)
    variables = [keras.Variable(np.full((2, 2), 4.0)) for _ in range(2)]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = make_optimizer(model, settings, steps_per_epoch=1, factors=[0.25, 1.0])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.factors == [0.25, 1.0]
    scale = 1.0
    if scaled:
        optimizer, scale = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0), 8.0
    optimizer.build(variables)
    optimizer.apply([keras.ops.full((2, 2), 3.0 * scale)] * 2, variables)
    # The first step: Adam's is the rate, Nesterov's (1 + momentum) * rate * gradient.
    step = 1.5 * 3.0 * 0.01 if name == "sgd" else 0.01
    decay = 4.0 * 0.1 * 0.01 if name == "adamw" else 0.0
    for variable, factor in zip(variables, (0.25, 1.0), strict=True):
        np.testing.assert_allclose(variable, 4.0 - factor * (step + decay), rtol=1e-6)


@pytest.fixture(scope="module")
def staged(tiny_config):
    return tiny_config.replace(
        {
            "training": {
                "epochs": 4,
                "head_epochs": 2,
                "layer_decay": 0.7,
                "ema": 0.8,
                "accumulation_steps": 2,
                "schedule": "cosine",
                "precision": "mixed_float16",
                "decay_all": False,
            },
            "augmentation": {"mixup": 0.4, "erasing": 0.5},
        }
    )


@pytest.fixture(scope="module")
def unbroken(staged, tables, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("staged") / "run", staged, tables)


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "step"), [(1, 2), (2, 0), (3, 1)])
def test_resumed_before_at_and_after_the_boundary(
    staged, unbroken, tables, tmp_path, interrupted, epoch, step
):
    assert_equal(interrupted(tmp_path / "run", staged, tables, epoch, step), unbroken)


@pytest.mark.slow
def test_in_the_first_stage_only_the_head_moves(staged, tables, tmp_path, interrupted):
    from fitting import Kill, Killed

    start = staged.replace({"training": {"ema": 0.0}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("breastus.training.trainer.TerminateOnNonFinite", lambda: Kill(2, 0))
        (tmp_path / "run").mkdir()
        with pytest.raises(Killed):
            fit(tmp_path / "run", start, tables)
    keras.utils.set_random_seed(start.seed)
    initial = build_model("cnn", image_size=32).get_weights()
    best = keras.models.load_model(tmp_path / "run" / "best.keras")
    moved = [
        not np.array_equal(one, other)
        for one, other in zip(initial, best.get_weights(), strict=True)
    ]
    assert moved == [False] * 6 + [True] * 2
    # What is kept can train on as a whole.
    assert len(best.trainable_variables) == 8


@pytest.mark.slow
def test_a_head_trained_in_all_epochs_leaves_the_backbone_alone(staged, tables, tmp_path):
    config = staged.replace({"training": {"head_epochs": 4, "ema": 0.0}})
    fit(tmp_path / "run", config, tables)
    keras.utils.set_random_seed(config.seed)
    initial = build_model("cnn", image_size=32).get_weights()
    best = keras.models.load_model(tmp_path / "run" / "best.keras")
    same = [np.array_equal(*pair) for pair in zip(initial, best.get_weights(), strict=True)]
    assert same == [True] * 6 + [False] * 2
    assert len(best.trainable_variables) == 8


def test_the_schedule_spans_both_stages(staged, unbroken):
    rates = unbroken["history"][:, -1]
    # Three updates an epoch; the recorded rate belongs to the next update.
    np.testing.assert_allclose(
        rates, 5e-4 * (1 + np.cos(np.pi * np.arange(3, 13, 3) / 12)), atol=1e-9
    )


def test_decay_spares_a_swins_tables_of_biases(tiny_config):
    model = build_model("swin_micro", image_size=224)
    config = tiny_config.replace({"training": {"decay_all": False, "weight_decay": 0.5}})
    compile_model(model, config, labels=[0, 1], steps_per_epoch=1)
    decayed = {
        variable.name
        for variable in model.trainable_variables
        if model.optimizer._use_weight_decay(variable)
    }
    assert decayed == {"kernel"}
