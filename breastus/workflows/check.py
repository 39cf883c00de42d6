"""Check a model on a few images: a bundle and images in, predictions and an HTML page out."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import sample_balanced
from breastus.deploy.explainer import Explainer
from breastus.deploy.predictor import Prediction, Predictor
from breastus.errors import ConfigError, RunError
from breastus.reporting import check_page
from breastus.reporting.check_page import Case
from breastus.workflows.prepare import Places, free_name


class CheckReport(NamedTuple):
    """Result and page of a check.

    Attributes:
        predictions: one prediction for each image; one that could not be read has an `error`.
        page: the HTML page; it shows the images.
    """

    predictions: list[Prediction]
    page: Path

    @property
    def summary(self) -> str:
        """The predictions in a sentence or two."""
        return check_page.summary(self.predictions)


def check(
    model: Any,
    images: str | os.PathLike | Iterable[str | os.PathLike] = (),
    *,
    data: Places | None = None,
    labels: str | Mapping[str, str] = "",
    count: int = 6,
    seed: int = 0,
    out: str | os.PathLike | None = None,
) -> CheckReport:
    """Predict images, and write a page about the predictions and what is unusual.

    Args:
        model: a `Predictor`, or what it loads: a bundle or a finished run.
        images: image files.
        data: instead of images: a data set to draw them from, as for `breastus.train`.
        labels: meanings of class names in `data`, such as `{"cancer": "lump"}`.
        count: number of images to draw.
        seed: random seed for choosing images from `data`.
        out: a new HTML file; None takes check.html, or the next free check-2.html, ...

    Raises:
        ConfigError: without images and data, with both, or if `count` is below 1.
        RunError: if `out` exists.
        BundleError: if the bundle cannot be loaded.
    """
    files = [images] if isinstance(images, str | os.PathLike) else list(images)
    if bool(files) == (data is not None):
        raise ConfigError(
            f"A check needs either image files or data to draw from. Received: {len(files)} files, "
            f"data={data!r}"
        )
    if count < 1:
        raise ConfigError(f"--count must be at least 1. Received: {count}")
    if out is not None and Path(out).exists():
        raise RunError(f"{out} exists. Choose another --out, or delete it.")
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    cases = [Case(file) for file in files]
    if data is not None:
        cases = _draw(predictor, data, labels, count=count, seed=seed)
    page = Path(out) if out is not None else free_name("check")
    explainer = Explainer(predictor.bundle)
    return CheckReport(check_page.check(predictor, cases, page, explainer=explainer), page)


def _draw(
    predictor: Predictor, data: Places, labels: str | Mapping[str, str], *, count: int, seed: int
) -> list[Case]:
    manifest = load_manifest(data, labels=labels, seed=seed)
    # A prediction for a training image proves nothing: images the model has not seen come first.
    new = manifest[[not predictor.has_seen(sha256) for sha256 in manifest["sha256"]]]
    drawn = sample_balanced(new, count, seed=seed)
    if drawn.empty:
        drawn = sample_balanced(manifest, count, seed=seed)
    return [Case(row.path, row.finding) for row in drawn.itertuples()]
