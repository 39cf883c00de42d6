"""A convolutional and a Swin branch side by side: z-scored images in, softmax probabilities out.

Convolutions capture texture and edges, attention captures how parts of the image relate. Only the
idea of two branches is Chen and Martel's, whose HybMNet combines a Swin-T that selects patches of a
mammogram and a ResNet-18 that processes them. Here both branches see the whole image, and their
maps are concatenated. The results of HybMNet do not carry over.

Reference:
    Chen, Martel: Enhancing breast cancer detection on screening mammogram using self-supervised
    learning and a hybrid deep model of Swin Transformer and convolutional neural networks. Journal
    of Medical Imaging, 2025; arXiv 2504.19888.
"""

import keras
from keras import layers

from breastus.errors import ModelError
from breastus.models.compact import compact
from breastus.models.layers.head import head
from breastus.models.registry import register_model
from breastus.models.swin.swin import swin, swin_micro

_STRIDE = 32  # of the joined map


@register_model("hybrid")
def hybrid(*, num_classes: int, image_size: int, dropout: float = 0.3) -> keras.Model:
    """Build `compact` and `swin_micro` joined, which a processor trains from scratch.

    Args:
        image_size: a multiple of 224 pixels (windows of 7 tokens) or of 192 (of 12).
        dropout: share of the joined features dropped in training.
    """
    if image_size % 224 and image_size % 192:
        raise ModelError(
            "image_size must be a multiple of 224, or of 192 for hybrid, so that the maps of both "
            f"branches meet. Received: {image_size}"
        )
    branch = swin_micro(num_classes=2, image_size=image_size)
    return _join("hybrid", branch, num_classes, image_size, dropout)


@register_model("hybrid_large")
def hybrid_large(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.3
) -> keras.Model:
    """Build `compact` and Swin-T joined, meant for pretrained weights.

    Args:
        image_size: a multiple of 224 pixels (windows of 7 tokens) or of 384 (of 12).
        weights: weights of the Swin branch, as for `swin`; the convolutional branch always starts
            from random weights.
        dropout: share of the joined features dropped in training.
    """
    branch = swin(num_classes=2, image_size=image_size, weights=weights)
    return _join("hybrid_large", branch, num_classes, image_size, dropout)


def _join(
    name: str, transformer: keras.Model, num_classes: int, image_size: int, dropout: float
) -> keras.Model:
    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    convolutional = compact(num_classes=2, image_size=image_size)
    near = _trunk(convolutional, "convolutions")(image)
    far = _trunk(transformer, "transformer")(image)
    if (ratio := far.shape[1] * _STRIDE // image_size) > 1:
        far = layers.AveragePooling2D(ratio, name="transformer_pool")(far)
    # Each branch is normalised, so that neither dominates the other.
    near = layers.LayerNormalization(epsilon=1e-5, name="convolutions_norm")(near)
    far = layers.LayerNormalization(epsilon=1e-5, name="transformer_norm")(far)
    x = layers.Concatenate(name="feature_map")([near, far])
    pooled = [
        layers.GlobalAveragePooling2D(name="average")(x),
        layers.GlobalMaxPooling2D(name="maximum")(x),
    ]
    x = layers.Concatenate(name="features")(pooled)
    x = head(x, num_classes=num_classes, dropout=dropout)
    return keras.Model(image, x, name=name)


def _trunk(model: keras.Model, name: str) -> keras.Model:
    """Return a network up to its last map, without its head."""
    return keras.Model(model.input, model.get_layer("feature_map").output, name=name)
