"""Similar training images: by cosine, one a scene, never the own scene; a file without pickle."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from breastus.errors import BundleError
from breastus.explain.training_features import (
    TrainingFeatures,
    conformal_limit,
    network_features,
)
from breastus.models.ensemble import ensemble

N, C = 60, 40


@pytest.fixture(scope="module")
def raw():
    """Features of 60 images of 30 scenes, whose channels differ in scale; the first is constant."""
    rng = np.random.default_rng(0)
    scenes = rng.normal(size=(N // 2, C)).repeat(2, axis=0)
    features = (scenes + 0.1 * rng.normal(size=(N, C))) * 10 ** rng.uniform(-3, 3, C)
    features[:, 0] = 5.0
    return features.astype(np.float32)


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame(
        {
            "image_id": [f"busi/image ({number})" for number in range(N)],
            "label": ["lump", "lump", "no_lump", "no_lump"] * (N // 4),
            "group_id": [f"scene {number // 2}" for number in range(N)],
            "sha256": [f"{number:064x}"[::-1] for number in range(N)],
        }
    )


@pytest.fixture(scope="module")
def known(raw, table):
    return TrainingFeatures.fit(raw, table, validation=raw + 0.1 * raw.std(axis=0), seed=0)


def test_the_order_is_that_of_the_cosine_of_standardised_features(raw, table, known):
    query = (raw[0] + 0.3 * raw[7]) / 1.3
    scaler = StandardScaler().fit(raw)
    similarity = cosine_similarity(scaler.transform(query[None]), scaler.transform(raw))[0]
    best = pd.Series(similarity).groupby(table["group_id"]).max().sort_values(ascending=False)
    found = list(known.nearest(query))
    groups = table.set_index("image_id").loc[[one.image_id for one in found], "group_id"]
    expected = [name for name in best.index if best[name] <= known.own_scene]
    assert groups.tolist() == expected
    assert found[0].distance == pytest.approx(1 - best[expected[0]], abs=1e-4)
    labels = table.set_index("image_id").loc[[one.image_id for one in found], "label"]
    assert [one.label for one in found] == labels.tolist()


def test_the_own_scene_is_left_out(raw, table, known):
    def scenes(query, **options):
        ids = [one.image_id for one in known.nearest(query, **options)]
        return set(table.set_index("image_id").loc[ids, "group_id"])

    assert len(scenes(raw.mean(axis=0))) == N // 2
    # A near-duplicate by its features, and the same file whatever its features say.
    assert scenes(raw[20] * 1.0001) == set(table["group_id"]) - {"scene 10"}
    far = raw.mean(axis=0)
    assert scenes(far, sha256=table["sha256"][20]) == set(table["group_id"]) - {"scene 10"}


def test_the_distance_is_that_of_mahalanobis(raw, known):
    rng = np.random.default_rng(1)
    new = raw[:5] + rng.normal(size=(5, C)) * raw.std(axis=0)
    new[:, 0] = 5.0  # the constant feature
    reference = EmpiricalCovariance().fit(raw[:, 1:] / raw[:, 1:].std(axis=0))
    expected = np.sqrt(reference.mahalanobis(new[:, 1:] / raw[:, 1:].std(axis=0)))
    np.testing.assert_allclose(known.distance(new), expected, rtol=1e-2)


def test_what_lies_beyond_the_components_counts_too(table):
    # 200 features of 60 images: images cannot span them all.
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(N, 200)).astype(np.float32)
    known = TrainingFeatures.fit(raw, table, validation=raw, seed=0)
    assert known.distance(rng.normal(size=(9, 200)).astype(np.float32)).min() > known.limit


def test_a_network_that_computes_nothing_has_features_of_no_length(table):
    raw = np.zeros((N, C), np.float32)
    known = TrainingFeatures.fit(raw, table, validation=raw, seed=0)
    assert known.distance(raw).max() == 0
    assert len(list(known.nearest(raw[0]))) == N // 2


def test_the_limit_keeps_95_percent():
    assert conformal_limit(np.arange(1.0, 100.0)) == 95
    assert np.isinf(conformal_limit(np.arange(18.0)))  # too few to promise it
    rng = np.random.default_rng(0)
    kept = [
        (rng.normal(size=500) <= conformal_limit(rng.normal(size=92))).mean() for _ in range(99)
    ]
    assert 0.945 < np.mean(kept) < 0.965


def test_a_file_holds_it_without_pickle(known, raw, tmp_path):
    path = tmp_path / "training_features.npz"
    known.save(path)
    read = TrainingFeatures.load(path)
    before, after = (list(one.nearest(raw[3])) for one in (known, read))
    assert [one.image_id for one in before] == [one.image_id for one in after]
    assert after[0].distance == pytest.approx(before[0].distance, abs=2e-3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BundleError, match="training_features"):
        TrainingFeatures.load(path)


def test_the_file_has_a_limit(tmp_path):
    rng = np.random.default_rng(0)
    many = pd.DataFrame({"image_id": range(4300)}).astype(str)
    many = many.assign(label="lump", group_id=many["image_id"], sha256=many["image_id"])
    raw = rng.normal(size=(4300, 300)).astype(np.float32)
    known = TrainingFeatures.fit(raw, many, validation=raw[:50], seed=0)
    known.save(tmp_path / "x.npz")
    assert len(known.features) == 4000
    assert (tmp_path / "x.npz").stat().st_size < 2**21


@pytest.mark.parametrize("joined", [False, True])
def test_features_are_means_of_the_last_map(joined):
    keras.utils.set_random_seed(0)
    models = []
    for _ in range(2 if joined else 1):
        image = keras.Input((16, 16, 3), name="image")
        x = layers.Conv2D(6, 4, 4, name="feature_map")(image)
        x = layers.GlobalMaxPooling2D(name="features")(x)
        x = layers.Dense(2, activation="softmax", name="probabilities")(x)
        models.append(keras.Model(image, x))
    conv = models[0].get_layer("feature_map")
    network = ensemble(models) if joined else models[0]
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    expected = np.asarray(conv(images)).mean(axis=(1, 2))
    np.testing.assert_allclose(network_features(network)(images), expected, atol=1e-6)
