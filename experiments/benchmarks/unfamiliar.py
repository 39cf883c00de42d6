"""Images that a model does not know: how well its features separate them

Distances from the training images (`TrainingFeatures.distance`) of one run are compared: the run's
test images, which it has not seen, against images of other kinds. ROC-AUC has DeLong's interval
over scenes, patients or pictures. "Referred" is the share above the limit, which was set on
validation images; the flags of a prediction, such as colour, are not used.

    python -m experiments.benchmarks.unfamiliar --run RUN --data path/to/folder

The folder holds `bus_uclm_sample`. It needs scikit-image and pydicom, whose example images it
reads; SciPy brings none any more. It records what it measures in `records/unfamiliar/`, and
`python -m experiments.results` writes the table.
"""

import argparse
import hashlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.data.images import read_image
from breastus.data.manifest.build import load_manifest
from breastus.errors import BreastusError, RunError
from breastus.evaluation.intervals.delong import delong_interval
from breastus.evaluation.intervals.proportions import clustered_proportion
from breastus.explain.training_features import TrainingFeatures, network_features
from breastus.models.load import load_network
from breastus.phantoms.simulation import simulate_phantom
from breastus.preprocessing.transform import Transform
from breastus.runs.run import Run
from breastus.utils.opencv import cv2
from experiments.pages import fact_list, facts_here, format_score, run_script, table, title_and_text
from experiments.records import measurement_facts, write_measurement

EXPERIMENT = "unfamiliar"
PHANTOMS, NOISE = 60, 40
BREAST, ULTRASOUND, OTHER = "breast B-mode", "ultrasound of another kind", "no ultrasound"
_DOPPLER = "color_doppler"


class Other(NamedTuple):
    """An image that is not a test image of the run."""

    kind: str
    source: str
    group: str
    pixels: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a finished run on BUSI")
    parser.add_argument("--data", type=Path, required=True, help="holds bus_uclm_sample")
    args = parser.parse_args()
    facts = facts_here("python -m experiments.benchmarks.unfamiliar --run RUN --data ...")
    run = Run.load(args.run)
    model = run.config.model
    facts |= {"Network": f"{model.name}, {model.image_size} pixels, seed {run.config.seed}"}
    write_measurement(EXPERIMENT, {"facts": facts, "rows": measure(run, args.data)})


def section(record: dict) -> str:
    """Return the text of the section `unfamiliar` of RESULTS.md."""
    rows = [
        [
            row["kind"],
            row["source"],
            row["images"],
            format_score(row["roc_auc"]) if row["roc_auc"] else "",
            format_score(row["referred"]),
        ]
        for row in record["rows"]
    ]
    lines = [
        *title_and_text(__doc__),
        "",
        *fact_list(measurement_facts(EXPERIMENT, record)),
        "",
        *table(["images", "source", "number", "ROC-AUC", "referred"], rows),
    ]
    return "\n".join(lines)


def measure(run: Run, data: Path) -> list[dict]:
    """Return a row for the test images, for each source of others, and for each kind."""
    if run.training_features is None:
        raise RunError(f"{run.path} has no features of its training images. Train it again.")
    known = TrainingFeatures.load(run.training_features)
    network, transform = (
        network_features(load_network(run.network)),
        Transform.from_config(run.config),
    )

    def distances(images: list[np.ndarray]) -> np.ndarray:
        squares = np.stack([transform.crop_and_resize(pixels) for pixels in images])
        return known.distance(network.predict(transform.normalize(squares), verbose=0))

    test, others = run.read_images().query("split == 'test'"), list(other_images(data))
    own = distances([read_image(path) for path in test["path"]])
    found = pd.DataFrame(others).drop(columns="pixels")
    found["distance"] = distances([one.pixels for one in others])
    usual = pd.DataFrame({"group": test["group_id"].to_numpy(), "distance": own})
    rows = [_row(BREAST, "test images of the run", usual, None, known.limit)]
    for (kind, source), part in found.groupby(["kind", "source"], sort=False):
        rows.append(_row(kind, source, part, usual, known.limit))
    for kind in (ULTRASOUND, OTHER):
        part = found[found["kind"] == kind]
        rows.append(_row(f"all of {kind}", "", part, usual, known.limit))
    return rows


def _row(
    kind: str, source: str, part: pd.DataFrame, usual: pd.DataFrame | None, limit: float
) -> dict:
    area = None
    if usual is not None:
        truth = [0] * len(usual) + [1] * len(part)
        both = pd.concat([usual, part])
        area = delong_interval(np.array(truth), both["distance"].to_numpy(), both["group"].tolist())
    referred = clustered_proportion(part["distance"] > limit, part["group"])
    keys = ("value", "ci_low", "ci_high")
    return {
        "kind": kind,
        "source": source,
        "images": len(part),
        "roc_auc": {key: float(area[key]) for key in keys} if area else None,
        "referred": {key: float(referred[key]) for key in keys},
    }


def other_images(data: Path) -> Iterator[Other]:
    """Yield images that the run was not made from; breast images of another hospital first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manifest = load_manifest(data / "bus_uclm_sample")
    for row in manifest.itertuples():
        doppler = _DOPPLER in row.flags.split(";")
        kind, source = (
            (ULTRASOUND, "BUS-UCLM, Doppler") if doppler else (BREAST, "BUS-UCLM, another hospital")
        )
        yield Other(kind, source, row.patient_id, read_image(row.path))
    for number in range(PHANTOMS):
        grey = simulate_phantom(7, number).image
        pixels = np.repeat(grey[..., None], 3, axis=-1)
        yield Other(ULTRASOUND, "phantoms, simulated", f"phantom {number}", pixels)
    seen: set[str] = set()
    for package, source in (
        ("skimage", "scikit-image"),
        ("sklearn", "scikit-learn"),
        ("pydicom", "pydicom"),
    ):
        for name, pixels in _shipped(package):
            small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
            digest = hashlib.sha256(small.tobytes()).hexdigest()
            if digest not in seen:  # pydicom has many encodings of one picture
                seen.add(digest)
                yield Other(OTHER, source, name, pixels)
    rng = np.random.default_rng(0)
    for number in range(NOISE):
        grey = rng.normal(120, 50, (300, 400)).astype(np.float32)
        grey = cv2.GaussianBlur(grey, (0, 0), 0.1 + number / 10)  # from fine to coarse
        grey = (grey - grey.mean()) / grey.std() * 50 + 120
        pixels = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        yield Other(OTHER, "noise", f"noise {number}", pixels)


def _shipped(package: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and pixels of the images that a Python package brings."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise RunError(f"{package} is not installed, whose images are measured: pip install it.")
    for path in sorted(Path(spec.origin).parent.rglob("*")):
        if path.suffix.lower() in (".png", ".jpg", ".tif", ".dcm"):
            try:
                pixels = read_image(path)
            except BreastusError:  # no picture, or a damaged one, as tests need them
                continue
            if min(pixels.shape[:2]) >= 16 and pixels.std() > 1:
                yield f"{package}/{path.name}", pixels
    if package == "sklearn":
        from sklearn.datasets import load_digits

        for number, digit in enumerate(load_digits().images[:20]):
            grey = cv2.resize((255 * digit / 16).astype(np.uint8), (160, 160))
            yield f"digit {number}", np.repeat(grey[..., None], 3, axis=-1)


if __name__ == "__main__":
    run_script(main)
