"""Vision-language models without weights: one that looks at the image, one that does not."""

from collections.abc import Callable, Sequence

import numpy as np

ROOM = 600  # tokens beside the image


class FakeVlm:
    """Says yes with log odds that a function of the pixels gives, whatever the spelling.

    Args:
        log_odds: takes uint8 [H, W, 3] to the log odds of yes.
        first: added to the log odds when the answer for a lump is named first.
        mass: probability of yes and no together.
        text: generated text.
    """

    image_size = 64
    free_tokens = ROOM

    def __init__(
        self,
        log_odds: Callable[[np.ndarray], float],
        *,
        first: float = 0.0,
        mass: float = 0.9,
        text: str = "Answer: yes\nExplanation: a dark mass.\nRecommendation: biopsy.",
    ):
        self.log_odds, self.first, self.mass, self.text = log_odds, first, mass, text
        self.questions: list[str] = []

    def count_tokens(self, question: str) -> int:
        return len(question.split())

    def look(self, image: np.ndarray) -> "_Look":
        return _Look(self, float(self.log_odds(image)))


class _Look:
    def __init__(self, model: FakeVlm, odds: float):
        self.model, self.odds = model, odds

    def log_likelihoods(self, question: str, answers: Sequence[str]) -> np.ndarray:
        self.model.questions.append(question)
        named_first = question.find("Yes") < question.find("No")
        odds = self.odds + self.model.first * named_first
        yes = self.model.mass / (1 + np.exp(-odds))
        lump = np.array([answer.lower() == "yes" for answer in answers])
        share = np.where(lump, yes / lump.sum(), (self.model.mass - yes) / (~lump).sum())
        return np.log(share)

    def generate(self, question: str, max_tokens: int) -> str:
        self.model.questions.append(question)
        return self.model.text


def sighted(image: np.ndarray) -> float:
    """Return log odds that grow as the middle of the image is darker than its edge."""
    grey = image[..., 0].astype(float)
    height, width = grey.shape
    middle = grey[height // 3 : -height // 3, width // 3 : -width // 3].mean()
    return (grey.mean() - middle) / 10


def blind(image: np.ndarray) -> float:
    """Return log odds that the image does not change."""
    return 1.5
