"""Tables of phantoms for trainings that need no run folder."""

import pytest


@pytest.fixture(scope="session")
def tables(tiny_config):
    """Rows of 20 training and 4 validation phantoms, half of them of each class."""
    from breastus.data.manifest.build import load_manifest

    manifest = load_manifest(tiny_config.data.source, settings=tiny_config.data, seed=0)
    rows = manifest[manifest["excluded"] == ""]
    rows = rows.groupby("label").sample(12, random_state=0)
    rows = rows.assign(turn=rows.groupby("label").cumcount()).sort_values(["turn", "label"])
    return {"train": rows[:20].reset_index(drop=True), "val": rows[20:].reset_index(drop=True)}


@pytest.fixture(scope="session")
def uneven_tables(tables):
    """The same with 3 training phantoms of no lump, of 13."""
    no_lump = tables["train"].query("label == 'no_lump'").index
    return {**tables, "train": tables["train"].drop(index=no_lump[3:]).reset_index(drop=True)}


@pytest.fixture(scope="session")
def interrupted():
    """A function (folder, config, tables, epoch, step) that fits, is killed then, and resumes."""
    from fitting import Kill, Killed, fit

    def run(folder, config, tables, epoch, step):
        kill = Kill(epoch, step)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("breastus.training.trainer.TerminateOnNonFinite", lambda: kill)
            with pytest.raises(Killed):
                fit(folder, config, tables)
        return fit(folder, config, tables)

    return run
