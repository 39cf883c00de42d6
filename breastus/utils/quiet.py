"""Import TensorFlow without its start-up notes, which no environment variable silences."""

import logging
import os
import sys
import tempfile
import warnings

_NOISY = r"(absl|keras|keras_hub|sklearn|tensorflow|tf_keras)(\.|$)"


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; show its notes only if that fails."""
    if "tensorflow" in sys.modules:
        return
    # Errors arrive as exceptions; other log lines and warnings concern its own internals.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module=_NOISY)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        # The notes come from C++, so the file descriptor has to be redirected, not sys.stderr.
        kept = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow as tf

            tf.get_logger().setLevel(logging.ERROR)
            tf.config.list_physical_devices()
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
