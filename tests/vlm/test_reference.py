"""The committed arrays are what the installed `transformers` computes; skipped without it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_transformers_computes_the_reference(reference):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    file = Path(__file__).parent / "make_reference.py"
    spec = importlib.util.spec_from_file_location("make_reference", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.compute()
    assert set(found) == set(reference)
    for name, array in found.items():
        np.testing.assert_allclose(array, reference[name], atol=1e-4, err_msg=name)
