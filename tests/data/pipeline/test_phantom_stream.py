"""A stream of phantoms: a function of its seed, with labels and masks that belong to the images."""

import functools

import numpy as np
import tensorflow as tf

from breastus.augmentation.base import image_seed
from breastus.augmentation.policies import build_augmenter
from breastus.data.pipeline.phantom_stream import (
    SEED_OFFSET,
    STREAM_HALF_SIZES,
    phantom_dataset,
    phantom_labels,
)
from breastus.phantoms.simulation import simulate_phantom
from breastus.preprocessing.transform import Transform

TRANSFORM = Transform(image_size=64)


def stream(*, seed=0, grid=(4, 4), policy="none", count=5):
    augmenter = build_augmenter(policy)
    return list(
        phantom_dataset(
            seed=seed,
            count=count,
            crop_and_resize=TRANSFORM.crop_and_resize,
            crop_and_resize_mask=TRANSFORM.crop_and_resize_mask,
            size=64,
            augment=augmenter,
            augment_masks=augmenter.augment_masks if augmenter else None,
            image_seed=functools.partial(image_seed, seed),
            normalize=TRANSFORM.normalize,
            grid=grid,
            batch_size=3,
        )
    )


def test_images_labels_and_masks_belong_together():
    batches = stream()
    assert [len(images) for images, _ in batches] == [3, 2]
    labels = np.concatenate([t["probabilities"].numpy().argmax(axis=1) for _, t in batches])
    np.testing.assert_array_equal(labels, phantom_labels(0, 5))
    shares = np.concatenate([t["lesion_logits"].numpy() for _, t in batches])
    assert shares.shape == (5, 4, 4, 2)
    np.testing.assert_array_equal(shares[..., 0].sum(axis=(1, 2)) > 0, labels == 1)
    assert (shares[..., 1] == 1).all()
    first = simulate_phantom(SEED_OFFSET, 0, half_sizes=STREAM_HALF_SIZES).image
    expected = TRANSFORM.normalize(TRANSFORM.crop_and_resize(tf.constant(np.dstack([first] * 3))))
    np.testing.assert_array_equal(batches[0][0][0], expected)


def test_a_seed_gives_the_same_stream_and_another_one_another():
    one, again, other = (stream(seed=s, grid=None, policy="study", count=3) for s in (3, 3, 4))
    for (images, labels), (images_2, labels_2) in zip(one, again, strict=True):
        np.testing.assert_array_equal(images, images_2)
        np.testing.assert_array_equal(labels, labels_2)
    assert not np.array_equal(one[0][0], other[0][0])


def test_lumps_can_be_small_and_the_default_draws_what_it_drew():
    sizes = [
        (simulate_phantom(1, i, finding="benign", half_sizes=(1.2, 1.3)).mask > 0).mean()
        for i in range(3)
    ]
    assert 0 < max(sizes) < 0.005
    plain = simulate_phantom(1, 0, finding="benign")
    given = simulate_phantom(1, 0, finding="benign", half_sizes=(2.2, 9.5))
    np.testing.assert_array_equal(plain.image, given.image)
