"""Export bundles: one run, several runs averaged, or a model recalibrated for another hospital.

With other formats than SavedModel and Keras, the bundle also holds graphs for other runtimes, each
compared with the SavedModel on images that the model did not learn from.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.data.images import read_image
from breastus.deploy.bundle import publish
from breastus.deploy.convert import NamedImage, check_formats, convert_bundle
from breastus.errors import BundleError, ConfigError, ExportError, ImageError
from breastus.runs.cross_validation import CrossValidation
from breastus.runs.external import ExternalEvaluation
from breastus.runs.run import Run
from breastus.workflows.ensemble import export_ensemble
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.recalibrate import export_recalibrated, recalibrated_name

MODELS = Path("models")
_COMPARED = 6  # images of a run that a converted graph is compared on, beside four made of them


def export(
    models: Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    recalibrated: str | os.PathLike | None = None,
    formats: Sequence[str] = ("saved_model",),
) -> Path:
    """Write a new bundle.

    Args:
        models: finished runs, or folders of a cross-validation; several networks are averaged.
            With `recalibrated` one model, also a bundle.
        out: the bundle folder, which must not exist; None takes `models/<model>`, or
            `models/<model>-<data set>` of a recalibrated one.
        recalibrated: folder of `evaluate_external(model, ..., recalibrate=N)`.
        formats: files of the bundle: "saved_model" (with the Keras file), "keras", "onnx",
            "litert".

    Raises:
        ConfigError: if a format is unknown, or several models are to be recalibrated.
        ExportError: if a network cannot be converted, or answers otherwise in another runtime.
        BundleError: if `out` exists.
    """
    formats = check_formats(formats)
    source = _source(models, recalibrated)
    out = Path(out) if out is not None else MODELS / source.name()
    if out.exists():
        raise BundleError(f"{out} exists. Choose another --out, or delete it.")
    converted = {"onnx", "litert"} & set(formats)
    if "saved_model" in formats and not converted:
        return source.write(out)
    images = comparison_images(source.predictions()) if converted else []
    with tempfile.TemporaryDirectory() as folder:
        return convert_bundle(source.write(Path(folder, "bundle")), out, formats, images)


class _Source(NamedTuple):
    """Where a bundle comes from."""

    write: Callable[[Path], Path]  # writes it to a folder
    name: Callable[[], str]  # of its folder in `models/`
    predictions: Callable[[], pd.DataFrame]  # on images to compare runtimes on, with their `path`


def _source(models: Sequence[str | os.PathLike], recalibrated: str | os.PathLike | None) -> _Source:
    if recalibrated is not None:
        if len(models) > 1:
            raise ConfigError(
                f"--recalibrated takes one run or bundle. Received: {len(models)} of them"
            )
        model, folder = ModelArtifact.load(models[0]), ExternalEvaluation(Path(recalibrated))
        return _Source(
            lambda out: export_recalibrated(model, folder, out),
            lambda: recalibrated_name(model, folder),
            lambda: _with_paths(folder.read_predictions(), folder.read_manifest()),
        )
    runs = [run for path in models for run in CrossValidation(Path(path)).runs or [Run.load(path)]]
    first = runs[0]
    return _Source(
        lambda out: publish(first.bundle, out) if len(runs) == 1 else export_ensemble(runs, out),
        lambda: first.config.model.name,
        lambda: _with_paths(first.read_predictions("val"), first.read_manifest()),
    )


def _with_paths(predictions: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    return predictions.merge(manifest[["image_id", "path"]], on="image_id")


def comparison_images(predictions: pd.DataFrame) -> list[NamedImage]:
    """Return images on which two runtimes can be compared.

    They are spread over the probabilities, because images of one probability prove little. Four
    are made of the first: smaller, with black borders, in colour, and turned.

    Args:
        predictions: table with `probability` and `path`.

    Raises:
        ExportError: if no image can be read.
    """
    paths = predictions.sort_values("probability", kind="stable")["path"].tolist()
    places = np.unique(np.linspace(0, len(paths) - 1, min(_COMPARED, len(paths))).round())
    images, errors = [], []
    for path in (paths[int(place)] for place in places):
        try:
            images.append(NamedImage(path, read_image(path)))
        except ImageError as error:
            errors.append(error)
    if not images:
        raise ExportError(
            "Converted graphs are compared with the SavedModel on the images that the decision was "
            f"fitted on, and none can be read: {errors[0]}"
        )
    name, pixels = images[0]
    tint = np.array([1.0, 0.8, 0.5])
    made = {
        "without a margin": pixels[pixels.shape[0] // 5 :, pixels.shape[1] // 4 :],
        "with black borders": np.pad(pixels, ((9, 20), (31, 4), (0, 0))),
        "in colour": (pixels * tint).astype(np.uint8),
        "turned": np.ascontiguousarray(pixels.swapaxes(0, 1)),
    }
    return [*images, *(NamedImage(f"{name} ({how})", changed) for how, changed in made.items())]
