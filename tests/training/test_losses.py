"""The loss equals its formula in NumPy, and Keras' own cross-entropy where nothing is asked for."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.config.schema import TrainingConfig
from breastus.errors import ConfigError
from breastus.training.losses import (
    ClassificationLoss,
    balanced_class_weights,
    check_loss,
    make_loss,
    register_loss,
)


def draw(seed, count=9, classes=3):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(classes), size=count).astype("float32")
    return rng.dirichlet(np.ones(classes), size=count).astype("float32"), probability


def one_hot(*labels):
    return np.eye(2, dtype="float32")[list(labels)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.floats(0, 4),
    st.floats(0, 0.8),
    st.one_of(st.none(), st.lists(st.floats(0.1, 5), min_size=3, max_size=3)),
)
def test_it_equals_the_formula(seed, gamma, smoothing, weights):
    y_true, y_pred = draw(seed)
    p = np.clip(y_pred.astype(float), 1e-7, 1 - 1e-7)

    def of_class(label):
        target = np.eye(3)[label] * (1 - smoothing) + smoothing / 3
        weight = (1 - p[:, label]) ** gamma * (weights[label] if weights else 1.0)
        return weight * -(target * np.log(p)).sum(axis=1)

    # A mixed target costs what its parts cost.
    expected = sum(y_true[:, label] * of_class(label) for label in range(3)).mean()
    found = float(ClassificationLoss(weights, gamma, smoothing)(y_true, y_pred))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_plain_cross_entropy_is_keras_own():
    y_true, y_pred = draw(0)
    plain = make_loss(TrainingConfig(), [0, 1])
    assert type(plain) is keras.losses.CategoricalCrossentropy
    assert float(ClassificationLoss()(y_true, y_pred)) == pytest.approx(
        float(plain(y_true, y_pred))
    )


def test_a_right_answer_counts_less_when_focused():
    y_true, sure, unsure = one_hot(1), np.array([[0.1, 0.9]]), np.array([[0.6, 0.4]])
    plain, focal = ClassificationLoss(), ClassificationLoss(focal_gamma=2.0)
    assert float(focal(y_true, sure)) == pytest.approx(0.01 * float(plain(y_true, sure)), rel=1e-3)
    assert float(focal(y_true, unsure)) == pytest.approx(
        0.36 * float(plain(y_true, unsure)), rel=1e-3
    )


def test_balanced_weights_make_the_classes_count_alike():
    labels = [0] * 3 + [1] * 9
    weights = balanced_class_weights(labels, 2)
    assert 3 * weights[0] == pytest.approx(9 * weights[1])
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)


def test_it_is_written_and_read_with_a_model():
    loss = ClassificationLoss([1.0, 2.0], 1.5, 0.1)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    y_true, y_pred = draw(1, classes=2)
    assert float(again(y_true, y_pred)) == float(loss(y_true, y_pred))


def test_the_settings_name_the_loss_and_its_options():
    loss = make_loss(TrainingConfig(focal_gamma=1.5, class_weights="balanced"), [0, 1, 1, 1])
    assert (loss.focal_gamma, loss.class_weights) == (1.5, [2.0, pytest.approx(2 / 3)])

    @register_loss("smoothed")
    def smoothed(*, label_smoothing):
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)

    assert (
        make_loss(TrainingConfig(loss="smoothed", label_smoothing=0.1), []).label_smoothing == 0.1
    )
    check_loss("smoothed")
    with pytest.raises(ConfigError, match=r"Did you mean smoothed\? .*Received: 'smoothd'"):
        check_loss("smoothd")
    with pytest.raises(ConfigError, match="smoothed is registered already"):
        register_loss("smoothed")(smoothed)
