"""One line about each network, for help texts that must not import TensorFlow."""

# A test compares the names with `breastus.list_models()`.
NETWORKS = {
    "efficientnet_lite0": "EfficientNet-Lite0 with ImageNet weights: the one to start with",
    "efficientnet_cells": "logistic regression on its frozen cells, lesion masks (make train-best)",
    "efficientnet_mil": "hidden layers on its cells, top-k pooling, lesion masks",
    "compact": "small residual network for a few hundred images and a CPU",
    "cnn": "the study's CNN: three convolution blocks, a baseline",
    "swin": "the study's Swin Transformer (tiny)",
    "swin_small": "Swin Transformer, small",
    "swin_base": "Swin Transformer, base",
    "swin_micro": "Swin Transformer that a CPU trains from scratch in minutes",
    "hybrid": "convolutions followed by Swin blocks",
    "hybrid_large": "a convolutional branch beside Swin (tiny)",
    "resnet50": "ResNet50, a comparison of the study",
    "vgg16": "VGG16, a comparison of the study",
}


def network_list() -> str:
    """Return the networks as lines for a help text."""
    return "\n".join(["networks:", *(f"  {name:<27}{line}" for name, line in NETWORKS.items())])
