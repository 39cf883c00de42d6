"""Ask a vision-language model about images: a label with a probability, and text.

The probability comes from the likelihoods of the answers, not from text: the log odds of all
spellings of yes against all spellings of no, averaged over the questions of a prompt set and both
orders of the options. The text is generated apart from that; what cannot be read is an abstention.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from breastus.data.images import read_image
from breastus.errors import ConfigError, DataWarning, ImageError
from breastus.evaluation.calibration.logistic import sigmoid
from breastus.labels import LABELS
from breastus.utils.files import printable
from breastus.vlm.answers import parse_report
from breastus.vlm.pixels import blank_image
from breastus.vlm.prompts import DEFAULT, PromptSet, read_prompts

REPORT_TOKENS = 200  # at most, of a generated text
THRESHOLD = 0.5

Image = str | os.PathLike | bytes | np.ndarray


class Looking(Protocol):
    """A model that has seen one image."""

    def log_likelihoods(self, question: str, answers: Sequence[str]) -> np.ndarray:
        """Return the log likelihood of each answer, [n]."""

    def generate(self, question: str, max_tokens: int) -> str:
        """Return a reply, the same each time."""


class VisionLanguageModel(Protocol):
    """What a model offers to be asked, such as `breastus.vlm.llava.LlavaMed`."""

    image_size: int  # side of the vision tower's input, in pixels
    free_tokens: int  # room for prompt and answer together, beside the image

    def count_tokens(self, question: str) -> int:
        """Return the number of tokens of a prompt with this question, without the image."""

    def look(self, image: np.ndarray) -> Looking:
        """Return the model with an image, uint8 [H, W, 3], before it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answers about one image.

    Attributes:
        path: the image file, or "" for an image in memory.
        label: "lump" or "no_lump", by the probability; "" if the image could not be read.
        probability: uncalibrated probability of a lump, 0 to 1; "lump" from 0.5 on.
        log_odds: natural logarithm of the odds of yes against no, [questions, 2]; the second axis
            is the order of the options, the answer for a lump first and then second.
        blank_log_odds: the same for a blank image, averaged; None if it was not asked.
        answer_mass: probability that the reply begins with any spelling of yes or no, 0 to 1,
            averaged. Near 0 the model would reply something else, and the odds mean little.
        explanation, recommendation: parts of the generated text, unverified.
        text: generated text; "" if none was asked for.
        abstained: true if neither yes nor no can be read from the text; None without a text.
        text_label: label that the text states; "" if it abstains. It may differ from `label`.
        notice: the cut of the history in words, else "".
        error: why the image could not be read, else "".
    """

    path: str = ""
    label: str = ""
    probability: float = float("nan")
    log_odds: np.ndarray = field(default_factory=lambda: np.full((0, 2), np.nan))
    blank_log_odds: float | None = None
    answer_mass: float = float("nan")
    explanation: str = ""
    recommendation: str = ""
    text: str = ""
    abstained: bool | None = None
    text_label: str = ""
    notice: str = ""
    error: str = ""


class Vlm:
    """A model with a set of prompts.

    Args:
        model: a loaded model.
        prompts: name of a prompt set of the package, a YAML file, or a `PromptSet`.
        subtract_blank: true if each image's log odds are reduced by the log odds of a blank image,
            which removes a preference for one answer that no image causes (Zhao et al., Calibrate
            Before Use, ICML 2021).
        reports: true to generate text as well.

    Examples:
        >>> vlm = breastus.build_vlm("llava-med")
        >>> vlm.ask("image.png", history="48 years, palpable lump").label
        'lump'
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        prompts: str | os.PathLike | PromptSet = DEFAULT,
        subtract_blank: bool = False,
        reports: bool = True,
    ):
        self.model = model
        self.prompts = prompts if isinstance(prompts, PromptSet) else read_prompts(prompts)
        self.subtract_blank, self.reports = subtract_blank, reports
        self._blank: dict[str, np.ndarray] = {}  # by history

    def ask(
        self, images: Image | Iterable[Image], history: str | None = None
    ) -> Answer | list[Answer]:
        """Ask about one image, or several.

        Args:
            images: a file, the bytes of one, pixels (uint8 [H, W, 3], RGB), or a list of these.
            history: clinical history, the same for all images. One that does not fit beside the
                image is cut at the end, with a `DataWarning`.

        Returns:
            An answer; for a list one for each image, in which an image that cannot be read has an
            `error`.

        Raises:
            ImageError: if a single image cannot be read.
            ConfigError: if the questions leave no room for an answer.
        """
        history, notice = self.fit_history(history)
        if notice:
            warnings.warn(notice, DataWarning, stacklevel=2)
        if isinstance(images, Image):
            return self._ask(images, history, notice)
        answers = []
        for image in images:
            try:
                answers.append(self._ask(image, history, notice))
            except ImageError as error:
                answers.append(Answer(path=_path(image), error=printable(str(error))))
        return answers

    def log_odds(self, image: np.ndarray, history: str = "") -> np.ndarray:
        """Return the log odds of an image, uint8 [H, W, 3], as in `Answer`, [questions, 2]."""
        return self._odds(self.model.look(image), history)[0]

    def blank_log_odds(self, history: str = "") -> np.ndarray:
        """Return the log odds of a blank image, [questions, 2]."""
        if history not in self._blank:
            self._blank[history] = self.log_odds(blank_image(self.model.image_size), history)
        return self._blank[history]

    def fit_history(self, history: str | None) -> tuple[str, str]:
        """Return a history that fits beside the image on one line, and the notice if it was cut."""
        words = (history or "").split()
        room = self.model.free_tokens - REPORT_TOKENS

        def fits(count: int) -> bool:
            kept = " ".join(words[:count])
            texts = [question for orders in self.prompts.asked(kept) for question in orders]
            texts.append(self.prompts.report_request(kept))
            return max(map(self.model.count_tokens, texts)) <= room

        if not fits(0):
            raise ConfigError(
                f"The prompts {self.prompts.label} are too long for this model, which has room for "
                f"{room} tokens beside the image and {REPORT_TOKENS} of an answer. Shorten them."
            )
        if fits(len(words)):
            return " ".join(words), ""
        low, high = 0, len(words)  # the first fits, the second does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        notice = (
            f"The history was cut after {low} of {len(words)} words: the model has room for no "
            "more. Put what matters first."
        )
        return " ".join(words[:low]), notice

    def _ask(self, image: Image, history: str, notice: str) -> Answer:
        pixels = image if isinstance(image, np.ndarray) else read_image(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
            raise ImageError(
                "Pixels must be uint8 [H, W, 3] with values 0 to 255. "
                f"Received: dtype={pixels.dtype}, shape={pixels.shape}"
            )
        looking = self.model.look(pixels)
        odds, mass = self._odds(looking, history)
        blank = float(self.blank_log_odds(history).mean())
        probability = float(sigmoid(odds.mean() - (blank if self.subtract_blank else 0.0)))
        return Answer(
            path=_path(image),
            label=LABELS[int(probability >= THRESHOLD)],
            probability=probability,
            log_odds=odds,
            blank_log_odds=blank,
            answer_mass=float(mass.mean()),
            notice=notice,
            **(self._report(looking, history) if self.reports else {}),
        )

    def _odds(self, looking: Looking, history: str) -> tuple[np.ndarray, np.ndarray]:
        """Return log odds and answer mass, [questions, 2] each."""
        prompts, odds, mass = self.prompts, [], []
        for orders in prompts.asked(history):
            for question in orders:
                answers = (*prompts.lump, *prompts.no_lump)
                found = np.asarray(looking.log_likelihoods(question, answers), float)
                yes = np.logaddexp.reduce(found[: len(prompts.lump)])
                no = np.logaddexp.reduce(found[len(prompts.lump) :])
                odds.append(yes - no)
                mass.append(np.exp(np.logaddexp(yes, no)))
        return np.reshape(odds, (-1, 2)), np.reshape(mass, (-1, 2))

    def _report(self, looking: Looking, history: str) -> dict[str, Any]:
        text = looking.generate(self.prompts.report_request(history), REPORT_TOKENS).strip()
        report = parse_report(text)
        return {
            "text": text,
            "explanation": report.explanation,
            "recommendation": report.recommendation,
            "abstained": report.lump is None,
            "text_label": "" if report.lump is None else LABELS[int(report.lump)],
        }


def _path(image: Image) -> str:
    return printable(image) if isinstance(image, str | os.PathLike) else ""
