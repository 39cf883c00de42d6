"""An audit looks at the split that is trained."""

import pandas as pd
import pytest

from breastus.auditing.run_audit import run_audit
from breastus.config.schema import Config
from breastus.data.manifest.build import build_manifest_with_pairs
from breastus.workflows.prepare import prepare_splits


@pytest.mark.parametrize(
    "settings",
    [
        ["seed=3"],
        ["data.split=kfold", "data.folds=4", "data.fold=1"],
        ["data.split=kfold", "data.folds=4", "data.fold=1", "data.val_rotation=2"],
        ["data.split=folders"],
    ],
)
def test_the_split_of_the_settings_is_audited(class_folders, settings):
    for seed, below in enumerate(("train", "val", "test")):
        root = class_folders(no_lump=4, lump=4, below=below, first_seed=8 * seed)
    config = Config().override(settings)
    found = build_manifest_with_pairs(root, settings=config.data, seed=config.seed)
    audit = run_audit(found, members=None, title="", settings=config.data, seed=config.seed)
    (own,) = [split for split in audit.splits if split.own]
    trained = prepare_splits(config, found.manifest)
    pd.testing.assert_frame_equal(own.members, trained[["image_id", "split"]])
