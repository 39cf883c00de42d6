"""What is measured: each variant runs in a process of its own."""

from dataclasses import dataclass, field
from typing import Any

FLOAT32, BFLOAT16 = "float32", "bfloat16"
NETWORKS = ("cnn", "swin")
PARTS = ("peak", *NETWORKS, "augmentation", "parts")
BATCH = {"cnn": 32, "swin": 16}
SIZE = 224
MATRIX = 4096  # side of the square matrices whose product is the processor's measured peak


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Args:
        part: one of `PARTS`.
        name: of the row.
        worker: module of `experiments.benchmarks.speed` that measures it.
        job: what the worker is asked to do.
        precision: of the arithmetic, where the row has one.
        role: "ours"; "rival", what one would take instead; "reference", shown beside them.
    """

    part: str
    name: str
    worker: str
    job: dict[str, Any] = field(hash=False)
    precision: str = ""
    role: str = "ours"

    @property
    def key(self) -> str:
        """The name under which its figures are kept."""
        return " | ".join(filter(None, (self.part, self.name, self.precision)))


def variants(parts: tuple[str, ...] = PARTS) -> list[Variant]:
    """Return all variants of some parts, in the order of the tables."""
    every = [*_peak(), *_cnn(), *_swin(), *_augmentation(), *_parts()]
    return [variant for variant in every if variant.part in parts]


def _peak() -> list[Variant]:
    job = {"what": "peak", "matrix": MATRIX}
    return [
        Variant("peak", name, worker, {**job, "precision": precision}, precision, "reference")
        for precision in (FLOAT32, BFLOAT16)
        for name, worker in (("TensorFlow", "ours"), ("PyTorch", "rivals"))
    ]


def _network(network: str, name: str, worker: str, precision: str, role: str, **how) -> Variant:
    job = {"what": "network", "network": network, "batch": BATCH[network], "size": SIZE}
    return Variant(network, name, worker, {**job, "precision": precision, **how}, precision, role)


def _ours(network: str) -> list[Variant]:
    return [
        _network(network, "breastus", "ours", FLOAT32, "ours", xla=False),
        _network(network, "breastus, XLA", "ours", FLOAT32, "ours", xla=True),
        _network(network, "breastus", "ours", BFLOAT16, "ours", xla=False),
    ]


def _torch(network: str, library: str) -> list[Variant]:
    return [
        _network(
            network,
            f"{library}, {name}",
            "rivals",
            precision,
            "rival",
            compiled=compiled,
            channels_last=channels_last,
        )
        for precision in (FLOAT32, BFLOAT16)
        for name, compiled, channels_last in (
            ("eager", False, False),
            ("channels last", False, True),
            ("compiled", True, False),
            ("compiled, channels last", True, True),
        )
    ]


def _cnn() -> list[Variant]:
    return [*_ours("cnn"), *_torch("cnn", "PyTorch")]


def _swin() -> list[Variant]:
    hub = [
        _network("swin", "KerasHub", "ours", precision, "reference", xla=False, hub=True)
        for precision in (FLOAT32, BFLOAT16)
    ]
    return [*_ours("swin"), *hub, *_torch("swin", "timm")]


def _augmentation() -> list[Variant]:
    job = {"what": "augmentation", "size": SIZE}
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
    ours = [
        Variant("augmentation", f"breastus, {images} images", "ours", {**job, "images": images})
        for images in ("grey", "colour")
    ]
    return [*ours, *rivals]


def _parts() -> list[Variant]:
    return [Variant("parts", "parts", "parts", {"what": "parts"})]
