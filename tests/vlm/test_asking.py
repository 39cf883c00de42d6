"""Asking: probability from likelihoods, both orders, blank image, history, text, abstentions."""

import warnings

import numpy as np
import pytest
from fake_vlm import ROOM, FakeVlm, blind, sighted
from PIL import Image

from breastus.errors import ConfigError, DataWarning, ImageError
from breastus.vlm.answers import parse_report
from breastus.vlm.asking import REPORT_TOKENS, Vlm
from breastus.vlm.prompts import prompt_sets, read_prompts

IMAGE = np.full((64, 64, 3), 90, np.uint8)


def _sigmoid(odds):
    return 1 / (1 + np.exp(-odds))


def test_the_probability_is_that_of_the_mean_log_odds():
    answer = Vlm(FakeVlm(blind, first=2.0)).ask(IMAGE)
    # 1.5 + 2 in one order and 1.5 in the other: all phrasings alike.
    assert answer.log_odds.shape == (5, 2)
    np.testing.assert_allclose(answer.log_odds, [[3.5, 1.5]] * 5)
    assert answer.probability == pytest.approx(_sigmoid(2.5))
    assert answer.label == "lump"
    assert answer.answer_mass == pytest.approx(0.9)


def test_the_blank_image_is_subtracted_where_asked():
    answers = [
        Vlm(FakeVlm(blind), subtract_blank=subtract).ask(IMAGE) for subtract in (False, True)
    ]
    assert [one.blank_log_odds for one in answers] == [pytest.approx(1.5)] * 2
    assert answers[0].probability == pytest.approx(_sigmoid(1.5))
    assert answers[1].probability == pytest.approx(0.5)


def test_each_phrasing_is_asked_in_both_orders():
    model = FakeVlm(blind)
    Vlm(model, reports=False).ask(IMAGE)
    asked = set(model.questions)
    assert len(asked) == 10
    assert sum(question.find("Yes") < question.find("No") for question in asked) == 5


def test_text_is_parsed_apart_from_the_label():
    answer = Vlm(FakeVlm(blind, text="Answer: no\nExplanation: normal tissue.")).ask(IMAGE)
    assert (answer.label, answer.text_label) == ("lump", "no_lump")
    assert answer.explanation == "normal tissue."
    assert answer.abstained is False


@pytest.mark.parametrize(
    ("text", "lump", "explanation", "recommendation"),
    [
        ("Answer: yes\nExplanation: a mass.\nRecommendation: biopsy.", True, "a mass.", "biopsy."),
        ("No, the tissue is normal.", False, "No, the tissue is normal.", ""),
        ("The answer is Yes.", True, "The answer is Yes.", ""),
        ("YES", True, "YES", ""),
        ("Answer: yes or no", None, "", ""),
        ("Nothing can be said about this image.", None, "", ""),
        ("I cannot tell. Recommendation: ask a radiologist.", None, "", "ask a radiologist."),
        ("Explanation: noise.\nAnswer: no", False, "noise.", ""),
        ("", None, "", ""),
    ],
)
def test_reports_are_parsed_and_else_abstain(text, lump, explanation, recommendation):
    assert parse_report(text) == (lump, explanation, recommendation)


def test_a_history_stands_before_the_question():
    model = FakeVlm(blind)
    Vlm(model).ask(IMAGE, history="48 years,\n  palpable lump")
    with_history = [one for one in model.questions if "48 years, palpable lump" in one]
    # Ten questions about the image, ten about a blank one, and the report.
    assert len(with_history) == len(model.questions) == 21


def test_a_history_of_fifty_pages_is_cut_with_a_notice():
    model = FakeVlm(blind)
    history = " ".join(f"word{number}" for number in range(50 * 400))
    with pytest.warns(DataWarning, match="of 20000 words"):
        answer = Vlm(model).ask(IMAGE, history=history)
    assert "cut after" in answer.notice
    longest = max(map(model.count_tokens, model.questions))
    assert longest == ROOM - REPORT_TOKENS  # all that fits, and no more
    assert all("word0 word1 " in question for question in model.questions)


def test_a_history_that_fits_is_not_cut():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Vlm(FakeVlm(blind)).ask(IMAGE, history="48 years").notice == ""


def test_prompts_that_leave_no_room_are_refused():
    model = FakeVlm(blind)
    model.free_tokens = REPORT_TOKENS + 3
    with pytest.raises(ConfigError, match="too long"):
        Vlm(model).ask(IMAGE)


def test_a_bad_image_is_reported_and_the_rest_go_on(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(IMAGE).save(good)
    bad.write_bytes(b"no image")
    vlm = Vlm(FakeVlm(sighted))
    answers = vlm.ask([good, bad])
    assert [bool(one.error) for one in answers] == [False, True]
    assert answers[1].label == ""
    with pytest.raises(ImageError, match="bad"):
        vlm.ask(bad)


@pytest.mark.parametrize("name", prompt_sets())
def test_prompt_sets_of_the_package_are_whole(name):
    prompts = read_prompts(name)
    assert (prompts.name, prompts.version) == (name, 1)
    asked = prompts.asked("48 years")
    assert all("Yes" in one and "No" in one and "48 years" in one for two in asked for one in two)
    # A text that repeats the request is no answer.
    assert parse_report(prompts.report).lump is None
    assert "category" not in prompts.report


def test_there_are_five_phrasings_and_the_sets_of_the_study():
    assert {"birads", "phrasings", "study"} <= set(prompt_sets())
    assert len(read_prompts("phrasings").questions) == 5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('["Yes", "yes", "YES"]', "[Yes, yes]"), "quotation marks"),
        (("{second}", "no"), "questions"),
        (("version: 1", "version: one"), "version"),
        (("history:", "histories:"), "histor"),
        (('["No", "no", "NO"]', '["No", "yes"]'), "'yes' cannot mean both"),
    ],
)
def test_a_damaged_prompt_file_is_refused(tmp_path, change, named):
    import breastus.vlm.prompts as module

    file = tmp_path / "mine.yaml"
    file.write_text((module._FOLDER / "study.yaml").read_text())
    assert read_prompts(file).name == "study"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(ConfigError, match=named):
        read_prompts(file)


def test_an_unknown_prompt_set_is_refused():
    with pytest.raises(ConfigError, match="Did you mean phrasings"):
        read_prompts("phrasing")
