"""The graph of a bundle in a runtime: raw pixels in, the outputs of the graph out.

    graph = load_graph(Bundle.load("models/cnn"), "onnx")
    graph(pixels)["lump"]     # uint8 [B, H, W, 3], 0 to 255, to float32 [B]

Only the runtime that is used is imported. A graph may be called from several threads at once.
"""

import importlib.util
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from breastus.deploy.bundle import GRAPHS, Bundle
from breastus.errors import BundleError, ConfigError, did_you_mean
from breastus.utils.quiet import import_tensorflow
from breastus.utils.threads import usable_cores

Graph = Callable[[np.ndarray], dict[str, np.ndarray]]

_PACKAGES = {"tensorflow": "tensorflow", "onnx": "onnxruntime", "litert": "ai_edge_litert"}
_INSTALL = {"tensorflow": "tensorflow", "onnx": "onnxruntime", "litert": "ai-edge-litert"}


def choose_runtime(bundle: Bundle, runtime: str | None = None) -> str:
    """Return the runtime in which to run a bundle.

    Args:
        bundle: the bundle.
        runtime: "tensorflow", "onnx" or "litert"; None takes the first of them that the bundle has
            a graph for and that is installed.

    Raises:
        ConfigError: if there is no runtime of that name.
        BundleError: if the bundle has no graph for it, or it is not installed.
    """
    if runtime is not None and runtime not in GRAPHS:
        raise ConfigError(
            f"runtime must be one of {', '.join(GRAPHS)}.{did_you_mean(runtime, GRAPHS)} "
            f"Received: {runtime!r}"
        )
    there = bundle.runtimes
    if runtime is not None and runtime not in there:
        raise BundleError(
            f"{bundle.path} holds no graph for {runtime}, but for {_listed(there)}. Export the run "
            f"again with --format {'saved_model' if runtime == 'tensorflow' else runtime}."
        )
    wanted = there if runtime is None else (runtime,)
    for name in wanted:
        if importlib.util.find_spec(_PACKAGES[name]) is not None:
            return name
    if not wanted:
        raise BundleError(f"{bundle.path} holds no graph. Export the run again with --format onnx.")
    packages = " or ".join(f"pip install {_INSTALL[name]}" for name in wanted)
    raise BundleError(
        f"{bundle.path} holds a graph for {_listed(wanted)}, which is not installed: {packages}"
    )


def load_graph(bundle: Bundle, runtime: str) -> Graph:
    """Load the graph of a bundle for a runtime that `choose_runtime` returned.

    Returns:
        A function from pixels, uint8 [B, H, W, 3], to the outputs: `probabilities` float32 [B, 2],
        `lump` float32 [B], and of a network of findings `findings` float32 [B, 3].

    Raises:
        BundleError: if the file cannot be used.
    """
    file = bundle.path / GRAPHS[runtime]
    try:
        return _LOADERS[runtime](file)
    except Exception as error:  # each runtime has errors of its own
        raise BundleError(f"{file} cannot be used in {runtime}: {error}") from error


def _tensorflow(file: Path) -> Graph:
    import_tensorflow()
    import tensorflow as tf

    module = tf.saved_model.load(str(file))  # its variables live as long as it does
    module.signatures["serving_uint8"]  # KeyError now, and not at the first image

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        outputs = module.signatures["serving_uint8"](images=tf.constant(pixels))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def _onnx(file: Path) -> Graph:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its own default counts the cores of the machine, not those that a container may use.
    options.intra_op_num_threads = usable_cores()
    # Waiting threads would keep cores busy that read the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Memory for the largest image so far would be kept; without it predictions are as fast.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; warnings concern its own optimisations
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda pixels: dict(zip(names, session.run(names, {"images": pixels}), strict=True))


def _litert(file: Path) -> Graph:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=usable_cores())
    runner = interpreter.get_signature_runner()
    one_at_a_time = threading.Lock()  # an interpreter holds one input

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        with one_at_a_time:
            rows = [runner(images=image[None]) for image in pixels]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return run


_LOADERS: dict[str, Callable[[Path], Graph]] = {
    "tensorflow": _tensorflow,
    "onnx": _onnx,
    "litert": _litert,
}


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) or "none"
