"""Convert the graph of a bundle for other runtimes, and prove on images that it stayed the same.

    saved_model/  ->  model.onnx      tf2onnx
                  ->  model.tflite    TensorFlow's LiteRT converter

Converters log what they cannot do and write the file all the same. So each file is loaded in its
own runtime, and has to answer as the SavedModel does.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from breastus.deploy.bundle import GRAPHS, NETWORK_FILE, SAVED_MODEL, Bundle, write_metadata
from breastus.deploy.runtimes import load_graph
from breastus.errors import BundleError, ConfigError, ExportError, did_you_mean
from breastus.utils.files import write_folder_aside

FORMATS = ("saved_model", "keras", "onnx", "litert")
TOLERANCE = 1e-4  # largest difference of a probability between two runtimes; our choice
_OPSET = 18  # of ONNX; tf2onnx converts to 18 at most


class NamedImage(NamedTuple):
    """An image to compare runtimes on."""

    name: str  # for errors
    pixels: np.ndarray  # uint8 [H, W, 3], RGB


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Return formats without repetitions; raise ConfigError if there are none, or unknown ones."""
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(
                f"format must be one or more of {', '.join(FORMATS)}."
                f"{did_you_mean(name, FORMATS)} Received: {name!r}"
            )
    if not formats:
        raise ConfigError(f"format must be one or more of {', '.join(FORMATS)}. Received: none")
    return tuple(dict.fromkeys(formats))


def convert_bundle(
    bundle: Path, out: str | os.PathLike, formats: Sequence[str], images: Sequence[NamedImage]
) -> Path:
    """Write a copy of a bundle that holds graphs in some formats, and no others.

    Args:
        bundle: a bundle with SavedModel and Keras file.
        out: the new bundle folder; it is not written if a conversion fails.
        formats: some of `FORMATS`; `saved_model` includes the Keras file.
        images: images on which each converted graph is compared with the SavedModel.

    Returns:
        `out`. Its bundle.json says in `runtimes`, for each converted graph, how it compares.

    Raises:
        ExportError: if a network cannot be converted, or the file answers otherwise.
    """
    converted = [name for name in formats if name in _CONVERT]
    settings = Bundle.load(bundle).metadata["preprocessing"]
    if converted and settings["annotations"] != "keep":
        raise ExportError(
            f"preprocessing.annotations={settings['annotations']} cannot be converted for "
            f"{' and '.join(converted)}: their converters lack its operations. Export saved_model, "
            "or train with preprocessing.annotations=keep."
        )
    with write_folder_aside(out) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        made = Bundle.load(folder)
        compared = {runtime: _add_graph(made, runtime, images) for runtime in converted}
        if "saved_model" not in formats:
            shutil.rmtree(folder / SAVED_MODEL)
            if "keras" not in formats:
                (folder / NETWORK_FILE).unlink()
        write_metadata(folder, {**made.metadata, "runtimes": compared})
    return Path(out)


def _add_graph(bundle: Bundle, runtime: str, images: Sequence[NamedImage]) -> dict[str, Any]:
    """Write the graph of a runtime beside the SavedModel; return how it compares."""
    file = bundle.path / GRAPHS[runtime]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _CONVERT[runtime](bundle.path / SAVED_MODEL, file)
    except ImportError as error:
        raise ExportError(
            f"--format {runtime} needs packages that are not installed ({error}): "
            f"pip install 'breastus[{runtime}]'"
        ) from error
    except Exception as error:  # converters raise almost anything
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ExportError(f"The network cannot be converted for {runtime}: {reason}") from error
    try:
        return {"file": file.name, **compare(bundle, runtime, images)}
    except Exception:
        file.unlink(missing_ok=True)
        raise


def compare(bundle: Bundle, runtime: str, images: Sequence[NamedImage]) -> dict[str, Any]:
    """Compare the graph of a runtime with the SavedModel on one or more images.

    Returns:
        `images`, their number; `largest_difference` of a probability; and the `lowest` and
        `highest` probability of a lump among them. If these two are close to each other, or all
        near 0 and 1, the comparison proves little.

    Raises:
        ExportError: if an output differs by more than `TOLERANCE`, or the runtime fails.
    """
    expected_graph = load_graph(bundle, "tensorflow")
    try:
        graph = load_graph(bundle, runtime)
    except BundleError as error:
        raise ExportError(f"The converted network is no graph: {error}") from error
    lumps, largest = [], 0.0
    for name, pixels in images:
        expected = expected_graph(pixels[None])
        try:
            found = graph(pixels[None])
        except Exception as error:  # each runtime has errors of its own
            raise ExportError(f"The graph for {runtime} fails on {name}: {error}") from error
        # Relative where an output is above 1, as a distance is; NaN where one is missing.
        differences = [
            np.max(np.abs(found.get(key, np.nan) - value) / np.maximum(1, np.abs(value)))
            for key, value in expected.items()
        ]
        difference = float(np.max(differences))
        if not difference <= TOLERANCE:  # NaN too
            raise ExportError(
                f"The graph for {runtime} differs from the SavedModel on {name}: its probability "
                f"of a lump is {found['lump'][0]:.6f} instead of {expected['lump'][0]:.6f}, and "
                f"the largest difference of an output {difference:.2g}, where {TOLERANCE:g} is "
                "allowed. The file was deleted."
            )
        lumps.append(float(expected["lump"][0]))
        largest = max(largest, difference)
    return {
        "images": len(images),
        "largest_difference": largest,
        "lowest": min(lumps),
        "highest": max(lumps),
    }


def _to_onnx(saved_model: Path, file: Path) -> None:
    import onnxruntime  # noqa: F401  it is needed to compare, so it is asked for first
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    function, _ = _graph_of(saved_model, batch=None)
    tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=_OPSET, output_path=str(file)
    )


def _to_litert(saved_model: Path, file: Path) -> None:
    import ai_edge_litert.interpreter  # noqa: F401  as above

    # One image at a time: LiteRT fixes the sizes within the network when it allocates memory.
    function, module = _graph_of(saved_model, batch=1)
    # Without the module, which holds the variables, the file would have no weights.
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], module
    )
    file.write_bytes(converter.convert())


_CONVERT = {"onnx": _to_onnx, "litert": _to_litert}


def _graph_of(saved_model: Path, *, batch: int | None) -> tuple[Any, Any]:
    """Return the graph of a SavedModel as a function of pixels, and the module it belongs to."""
    module = tf.saved_model.load(str(saved_model))
    signature = module.signatures["serving_uint8"]
    pixels = tf.TensorSpec([batch, None, None, 3], tf.uint8, "images")
    return tf.function(lambda images: signature(images=images), input_signature=[pixels]), module
