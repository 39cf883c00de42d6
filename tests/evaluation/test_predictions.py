"""A predictions table names images and groups, and its findings and labels agree."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from breastus.errors import DataError
from breastus.evaluation.predictions import (
    finding_confusion,
    finding_probabilities,
    prediction_columns,
    read_predictions,
    truth_and_probability,
    write_predictions,
)


def table(**columns):
    made = pd.DataFrame(
        {
            "image_id": ["x/1", "x/2", "x/3", "x/4"],
            "split": "test",
            "group_id": ["a", "a", "b", "c"],
            "finding": ["normal", "benign", "unknown", ""],
            "label": ["no_lump", "lump", "no_lump", "lump"],
            "predicted": "lump",
            "probability": [0.2, 0.9, 0.4, 0.5],
        }
    )
    return made.assign(**columns)


def test_a_finding_may_be_unknown_or_empty(tmp_path):
    write_predictions(table(), tmp_path / "p.csv")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "p.csv"), table())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"group_id": ""}, "row 2: group_id must not be empty.*group_id='', image_id='x/1'"),
        ({"group_id": ["a", "a", " ", "c"]}, "row 4: group_id must not be empty.*of its own"),
        ({"group_id": ["a", None, "b", "c"]}, "row 3: group_id must not be empty"),
        ({"image_id": ["x/1", "x/2", "x/3", ""]}, "row 5: image_id must not be empty"),
        ({"image_id": ["x/1", "", "", "x/4"]}, "row 3: image_id must not be empty"),
        (
            {"finding": ["normal", "cyst", "unknown", ""]},
            "row 3: finding must be one of .*, or empty. Received: finding='cyst'",
        ),
        (
            {"finding": ["benign", "benign", "unknown", ""]},
            "row 2: finding means the label lump, not no_lump; correct one of them. "
            "Received: finding='benign', image_id='x/1', label='no_lump'",
        ),
        ({"finding": ["normal", "benign", "", "normal"]}, "row 5: .*means the label no_lump, not"),
    ],
)
def test_what_names_nothing_or_contradicts_itself_is_refused(tmp_path, columns, message):
    path = tmp_path / "p.csv"
    table(**columns).to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"p\.csv, {message}"):
        read_predictions(path)
    with pytest.raises(DataError, match=f"the predictions, {message.split(' must')[0]}"):
        write_predictions(table(**columns), tmp_path / "written.csv")
    assert not (tmp_path / "written.csv").exists()


def test_a_header_alone_is_refused(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("image_id,split,group_id,finding,label,predicted,probability\n")
    with pytest.raises(DataError, match=r"predictions\.csv must have at least one row"):
        read_predictions(path)


def test_truth_is_of_labels_alone():
    truth, prob = truth_and_probability(table())
    assert truth.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(prob, [0.2, 0.9, 0.4, 0.5])
    of_findings = table(label=["no_lump", "malignant", "benign", "lump"])
    with pytest.raises(DataError, match="malignant is a finding; its label is lump"):
        truth_and_probability(of_findings)
    for wrong in ("", "Lump", "unknown", None):
        with pytest.raises(DataError, match=f"one of no_lump, lump. Received: label={wrong!r}"):
            truth_and_probability(
                table(label=pd.Series(["lump", wrong, "lump", "lump"], dtype=object))
            )


def test_reading_and_scoring_predictions_loads_no_tensorflow(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions(table(), path)
    code = (
        "import sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from breastus.evaluation.evaluate_predictions import score_predictions\n"
        "from breastus.evaluation.predictions import read_predictions\n"
        f"table = read_predictions({str(path)!r})\n"
        "score_predictions({'test': table}, threshold=0.5)\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_findings_are_summed_to_lump_and_come_back():
    softmax = np.array([[0.5, 0.3, 0.2], [0.1, 0.0, 0.9], [1.0, 0.0, 0.0], [0.2, 0.6, 0.2]])
    columns = prediction_columns(softmax)
    assert columns["probability_uncalibrated"] == pytest.approx([0.5, 0.9, 0.0, 0.8])
    predictions = table(**columns)
    found = finding_probabilities(predictions, column="probability_uncalibrated")
    np.testing.assert_allclose(found, softmax, atol=1e-12)
    # Another probability of lump is shared as the network shared its own.
    calibrated = finding_probabilities(predictions.assign(probability=0.5))
    np.testing.assert_allclose(calibrated[0], [0.5, 0.3, 0.2])
    assert set(prediction_columns(softmax[:, :2])) == {"probability_uncalibrated"}
    assert finding_probabilities(table()) is None


def test_findings_survive_the_file(tmp_path):
    made = table(probability_uncalibrated=0.5, malignant_share=[0.1, 0.2, 0.3, 0.4])
    write_predictions(made, tmp_path / "p.csv")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "p.csv"), made)
    with pytest.raises(DataError, match="malignant_share must be from 0 to 1"):
        write_predictions(made.assign(malignant_share=1.5), tmp_path / "p.csv")


def test_the_predicted_finding_follows_the_threshold():
    made = table(finding=["normal", "benign", "unknown", "malignant"], malignant_share=0.9)
    assert finding_confusion(made, 0.5).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert finding_confusion(made, 0.6).tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    each = np.array([0.1, 0.95, 0.5, 0.5])  # one an image
    assert finding_confusion(made, each).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    benign = finding_confusion(made.assign(malignant_share=0.2), 0.5)
    assert benign.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert finding_confusion(table(), 0.5) is None
