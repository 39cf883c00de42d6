"""Lesion maps of a trained model: measured on a run's test images, or drawn on images.

    found = measure_lesion_maps("runs/compact")    # explanation.json, and a section of the report
    explain_images("runs/compact", ["image.png"], out="maps")

Maps are drawn only for networks that were measured and whose maps point at lesions better than the
centre of the image does. A bundle knows that from its run.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from breastus.config.parsing import join_sources
from breastus.config.schema import Config
from breastus.data.images import ImageFile, read_unchanged, to_png
from breastus.data.masks import lesion_mask
from breastus.deploy.bundle import Bundle, find_bundle
from breastus.deploy.explainer import Explainer
from breastus.errors import DataError, ImageError, RunError
from breastus.evaluation.localization import (
    centre_map,
    localization,
    mass_inside,
    points_inside,
    rank_correlation,
)
from breastus.evaluation.options import EvaluationOptions
from breastus.explain.geometry import to_original
from breastus.explain.lesion_map import LesionMapper, occlusion_map
from breastus.explain.randomization import randomization_check
from breastus.explain.training_features import Neighbour
from breastus.labels import LABELS, LUMP
from breastus.preprocessing.transform import Transform
from breastus.reporting import texts
from breastus.reporting.heat_map import beside_image
from breastus.runs.cross_validation import CrossValidation
from breastus.runs.run import Run
from breastus.utils.files import write_aside
from breastus.utils.opencv import cv2
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.external_images import external_images
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.prepare import Places

_BATCH = 8
_CHECKED = 8  # images of the two checks, of which occlusion takes 82 predictions each
_STORED = 64  # pixels a side of a map that is kept for the report
_SIDE = 720  # longer side of an image in a picture, in pixels


class ExplainedImage(NamedTuple):
    """What is known about the prediction of one image.

    Attributes:
        path: image file.
        picture: PNG file with the lesion map; None without one.
        similar: the most similar training images, see `Explainer.similar_images`.
        error: why the image could not be read, else "".
    """

    path: str | os.PathLike
    picture: Path | None = None
    similar: Sequence[Neighbour] = ()
    error: str = ""


class ExplainedImages(NamedTuple):
    """Result of `explain_images`.

    Attributes:
        images: one for each image.
        no_lesion_map: why no map is shown; "" if maps may be shown.
    """

    images: list[ExplainedImage]
    no_lesion_map: str


def explain_images(
    model: Any, images: str | os.PathLike | Iterable[str | os.PathLike], *, out: str | os.PathLike
) -> ExplainedImages:
    """Draw the lesion maps of images, a PNG file each, and find similar training images.

    There are pictures only if the maps of the model were shown to find lesions.

    Args:
        model: a bundle, a finished run, or a cross-validation with a bundle: a path, or an object
            with a `path`.
        images: image files.
        out: a new or empty folder for the pictures.

    Raises:
        RunError: if `out` holds something.
        BundleError: if the bundle cannot be loaded.
    """
    files = [images] if isinstance(images, str | os.PathLike) else list(images)
    explainer = Explainer(Bundle.load(find_bundle(getattr(model, "path", model))))
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists and is not empty. Choose another --out, or delete it.")
    found, taken = [], set()
    for file in tqdm(files, "explaining images", leave=False, disable=None):
        try:
            read = ImageFile.read(file)
        except ImageError as error:
            found.append(ExplainedImage(file, error=str(error)))
            continue
        picture = None
        if explainer.has_maps:
            picture = out / _free_name(Path(file).stem, taken)
            drawn = beside_image(read.pixels, explainer.lesion_map(read.pixels), side=_SIDE)
            with write_aside(picture) as aside:
                aside.write_bytes(to_png(drawn))
        found.append(ExplainedImage(file, picture, explainer.similar_images(read)))
    return ExplainedImages(found, texts.no_lesion_map(explainer.measured))


def measure_lesion_maps(run: Run | str | os.PathLike) -> dict[str, Any]:
    """Measure how well a run's lesion maps point at lesions; write explanation.json and the report.

    Every test image gets a map; those with a lesion mask are scored. Two checks take eight of them:
    occlusion, and layers that are randomised from the top.

    Args:
        run: a finished run, or the folder of a cross-validation, whose runs are measured each.

    Returns:
        What `breastus.evaluation.localization.localization` returns; `method`, as of
        `LesionMapper`; `lesion_area`, the mean share of the image that a lesion covers; and
        `images`, the scores of each image. Of a single run also `occlusion`, the mean rank
        correlation of `images` maps with their occlusion maps, and `randomization`, steps as of
        `randomization_check`.

    Raises:
        RunError: if the run is not finished.
        DataError: if no test image has a mask, or one has changed or cannot be read.
    """
    if not isinstance(run, Run) and (folds := CrossValidation(Path(run)).runs):
        for fold in folds:
            measure_lesion_maps(fold)
        return pooled_explanation(folds)
    run = run if isinstance(run, Run) else Run.load(run)
    model = ModelArtifact.from_run(run)
    rows = run.read_images()
    rows = rows[rows["split"] == "test"].reset_index(drop=True)
    masked = _masked(rows)
    if masked.empty:
        raise _no_masks(run.path)
    checked = set(masked.sample(frac=1, random_state=run.config.seed)["image_id"].head(_CHECKED))
    network = model.load_network()
    mapper, maps = LesionMapper(network), {}
    scores, kept = [], []
    for image in _with_maps(rows, mapper, Transform.from_config(run.config)):
        maps[image.row.image_id] = image.stored
        if image.mask is not None:
            scores.append(_scores(image))
        if image.row.image_id in checked:
            kept.append(image)
    if not scores:  # the masks are blank
        raise _no_masks(run.path)
    found = {
        "method": mapper.method,
        **_localization(scores, run.config),
        **_checks(network, mapper, kept, seed=run.config.seed),
        "images": scores,
    }
    run.write_explanation(found, maps)
    evaluate_run(run, decision=model.decision)
    return found


def pooled_explanation(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return the scores of several runs' lesion maps together, each image by its own network.

    As from `measure_lesion_maps`; None unless all runs were measured.
    """
    each = [run.read_explanation() for run in runs]
    if not all(each):
        return None
    scores = [image for one in each for image in one["images"]]
    return {"method": each[0]["method"], **_localization(scores, runs[0].config), "images": scores}


def external_lesion_maps(
    model: ModelArtifact | Run | str | os.PathLike,
    data: Places,
    *,
    labels: str | Mapping[str, str] = "",
) -> dict[str, Any]:
    """Measure the lesion maps of a run or bundle on another data set; nothing is written.

    Images that the model has seen are excluded, as by `breastus.evaluate_external`.

    Returns:
        As `measure_lesion_maps`, without the two checks.
    """
    model = ModelArtifact.load(model)
    rows = external_images(data, model, labels).rows
    mapper = LesionMapper(model.load_network())
    mapped = _with_maps(_masked(rows), mapper, Transform.from_config(model.config))
    scores = [_scores(image) for image in mapped if image.mask is not None]
    if not scores:
        raise _no_masks(join_sources(data))
    return {"method": mapper.method, **_localization(scores, model.config), "images": scores}


def _localization(scores: Sequence[dict[str, Any]], config: Config) -> dict[str, Any]:
    table = pd.DataFrame(scores)
    options = EvaluationOptions.from_settings(config.evaluation, seed=config.seed)
    return {
        **localization(table, table["group_id"].tolist(), options=options),
        "lesion_area": float(table["lesion_area"].mean()),
    }


def _masked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["mask_paths"] != "") & (rows["label"] == LABELS[LUMP])]


def _no_masks(name: str | os.PathLike) -> DataError:
    return DataError(
        f"{name} has no test image of a lump with a lesion mask, so that lesion maps cannot be "
        "measured. Use a data set with masks, such as BUSI."
    )


class _Mapped(NamedTuple):
    """An image with its map."""

    row: Any  # of the manifest
    inputs: np.ndarray  # of the network, [S, S, 3]
    map: np.ndarray  # float32 [S, S]
    mask: np.ndarray | None  # bool [S, S]; None without one
    stored: np.ndarray  # the map in the original image, stretched to uint8 [64, 64]


def _with_maps(rows: pd.DataFrame, mapper: LesionMapper, transform: Transform) -> Iterator[_Mapped]:
    """Yield the images of a table with their maps."""
    bar = tqdm(total=len(rows), desc="lesion maps", leave=False, disable=None)
    for start in range(0, len(rows), _BATCH):
        some = list(rows[start : start + _BATCH].itertuples())
        pixels = [read_unchanged(row.path, row.sha256) for row in some]
        squares = tf.stack([transform.crop_and_resize(image) for image in pixels])
        inputs = transform.normalize(squares).numpy()
        for number, found in enumerate(mapper(inputs)):
            original = to_original(found, pixels[number], transform)
            small = cv2.resize(original, (_STORED, _STORED), interpolation=cv2.INTER_AREA)
            yield _Mapped(
                some[number],
                inputs[number],
                found,
                _mask(some[number].mask_paths, pixels[number], transform),
                np.round(255 * small).astype(np.uint8),
            )
            bar.update()
    bar.close()


def _mask(mask_paths: str, pixels: np.ndarray, transform: Transform) -> np.ndarray | None:
    """Return the lesion in the frame of the transformed image; None without one."""
    names = [name for name in mask_paths.split(";") if name]
    mask = lesion_mask(names, pixels.shape[:2])
    covered = transform.crop_and_resize_mask(mask[..., None], pixels).numpy()[..., 0]
    # A lesion that is thinner than a pixel covers the pixels that it touches most.
    return covered >= min(128, covered.max()) if covered.any() else None


def _scores(image: _Mapped) -> dict[str, Any]:
    """Return the scores of one image."""
    centre = centre_map(len(image.map))
    return {
        "image_id": image.row.image_id,
        "group_id": image.row.group_id,
        "hit": points_inside(image.map, image.mask),
        "centre_hit": points_inside(centre, image.mask),
        "mass": mass_inside(image.map, image.mask),
        "centre_mass": mass_inside(centre, image.mask),
        "lesion_area": float(image.mask.mean()),
    }


def _checks(
    network: keras.Model, mapper: LesionMapper, images: Sequence[_Mapped], *, seed: int
) -> dict[str, Any]:
    """Return the results of the two checks."""
    agreement = [
        rank_correlation(image.map, occlusion_map(mapper, image.inputs))
        for image in tqdm(images, "occlusion", leave=False, disable=None)
    ]
    steps = randomization_check(network, np.stack([image.inputs for image in images]), seed=seed)
    return {
        "occlusion": {"images": len(images), "correlation": float(np.mean(agreement))},
        "randomization": [step._asdict() for step in steps],
    }


def _free_name(stem: str, taken: set[str]) -> str:
    """Return a file name for a picture, another one for each image of the same name."""
    number, name = 1, f"{stem}.png"
    while name in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name)
    return name
