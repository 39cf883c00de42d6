"""Import TensorFlow without its start-up notes, which no setting silences."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; should that fail, show all that it said."""
    if "tensorflow" in sys.modules:
        return
    # Errors reach us as exceptions; what else it would log is about its own insides.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        # The notes come from C++, so the file descriptor has to be turned away, not sys.stderr.
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
