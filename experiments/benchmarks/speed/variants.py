"""The variants that are measured, each in a process of its own."""

from dataclasses import dataclass, field
from typing import Any

FLOAT32, BFLOAT16 = "float32", "bfloat16"
NETWORKS = ("cnn", "swin")
PARTS = ("peak", *NETWORKS, "augmentation", "parts")
BATCH = {"cnn": 32, "swin": 16}
SIZE = 224
MATRIX = 4096  # side of the square matrices whose product gives the peak of the processor
TORCH_MODES = {  # name: (compiled, channels last)
    "eager": (False, False),
    "channels last": (False, True),
    "compiled": (True, False),
    "compiled, channels last": (True, True),
}


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
        part: one of `PARTS`.
        name: first cell of the row.
        worker: module of `experiments.benchmarks.speed` that measures it.
        job: arguments of the worker.
        precision: precision of the arithmetic, or "" if the row has none.
        role: "ours", "rival" (an alternative to breastus), or "reference".
    """

    part: str
    name: str
    worker: str
    job: dict[str, Any] = field(hash=False)
    precision: str = ""
    role: str = "ours"

    @property
    def key(self) -> str:
        """The name of the variant's figures."""
        return " | ".join(filter(None, (self.part, self.name, self.precision)))


def variants(parts: tuple[str, ...] = PARTS) -> list[Variant]:
    """Return all variants of some parts, in the order of the tables."""
    every = [
        *_peak(),
        *_network("cnn", "PyTorch"),
        *_network("swin", "timm"),
        *_augmentation(),
        Variant("parts", "parts", "ours", {"what": "parts"}),
    ]
    return [variant for variant in every if variant.part in parts]


def _peak() -> list[Variant]:
    job = {"what": "peak", "matrix": MATRIX}
    return [
        Variant("peak", name, worker, {**job, "precision": precision}, precision, "reference")
        for precision in (FLOAT32, BFLOAT16)
        for name, worker in (("TensorFlow", "ours"), ("PyTorch", "rivals"))
    ]


def _network(network: str, library: str) -> list[Variant]:
    job = {"what": "network", "network": network, "batch": BATCH[network], "size": SIZE}

    def variant(name: str, worker: str, precision: str, role: str, **options) -> Variant:
        return Variant(
            network, name, worker, {**job, "precision": precision, **options}, precision, role
        )

    rows = [
        variant("breastus", "ours", FLOAT32, "ours", xla=False),
        variant("breastus, XLA", "ours", FLOAT32, "ours", xla=True),
        variant("breastus", "ours", BFLOAT16, "ours", xla=False),
    ]
    if network == "swin":
        rows += [
            variant("KerasHub", "ours", precision, "reference", xla=False, hub=True)
            for precision in (FLOAT32, BFLOAT16)
        ]
    for precision in (FLOAT32, BFLOAT16):
        for mode, (compiled, channels_last) in TORCH_MODES.items():
            options = {"compiled": compiled, "channels_last": channels_last}
            rows.append(variant(f"{library}, {mode}", "rivals", precision, "rival", **options))
    return rows


def _augmentation() -> list[Variant]:
    job = {"what": "augmentation", "size": SIZE}
    ours = [
        Variant("augmentation", f"breastus, {images} images", "ours", {**job, "images": images})
        for images in ("grey", "colour")
    ]
    rivals = [
        Variant(
            "augmentation",
            f"{library}, {pixels} images",
            "rivals",
            {**job, "library": library, "pixels": pixels},
            role="rival",
        )
        for library in ("albumentations", "torchvision")
        for pixels in ("uint8", "float32")
    ]
    return [*ours, *rivals]
