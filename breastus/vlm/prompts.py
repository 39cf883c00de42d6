"""Sets of prompts: versioned YAML files, in the package or written by a user.

name: phrasings
version: 1
description: one line about the set
questions:          # each is asked twice, with the options in both orders
  - Is a lump visible in this breast ultrasound image? Answer {first} or {second}.
answers:            # all spellings; the first of each fills {first} and {second}
  lump: ["Yes", "yes", "YES"]
  no_lump: ["No", "no", "NO"]
history: "Clinical history: {history}\\n"   # stands before the question
report: ...         # asks for text with an answer, an explanation and a recommendation
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastus.errors import ConfigError, did_you_mean
from breastus.labels import LABELS

_FOLDER = Path(__file__).parent / "prompt_sets"
DEFAULT = "phrasings"
_PLACES = {"questions": ("{first}", "{second}"), "history": ("{history}",)}


@dataclass(frozen=True)
class PromptSet:
    """A set of prompts.

    Attributes:
        name, version: they are written beside each answer.
        description: purpose of the set.
        questions: wordings of one question, with the places `{first}` and `{second}`.
        lump, no_lump: spellings of the two answers.
        history: text around a clinical history, with the place `{history}`.
        report: request for an explanation and a recommendation.
    """

    name: str
    version: int
    description: str
    questions: tuple[str, ...]
    lump: tuple[str, ...]
    no_lump: tuple[str, ...]
    history: str
    report: str

    @property
    def label(self) -> str:
        """Name and version, such as `phrasings v1`."""
        return f"{self.name} v{self.version}"

    def asked(self, history: str = "") -> list[tuple[str, str]]:
        """Return each question in both orders, the answer for a lump first and then second."""
        before = self.before(history)
        options = self.lump[0], self.no_lump[0]
        return [
            tuple(
                before + question.replace("{first}", first).replace("{second}", second)
                for first, second in (options, options[::-1])
            )
            for question in self.questions
        ]

    def report_request(self, history: str = "") -> str:
        """Return the request for a report."""
        return self.before(history) + self.report

    def before(self, history: str) -> str:
        """Return the text before a question: empty without a history."""
        return self.history.replace("{history}", history) if history else ""


def prompt_sets() -> list[str]:
    """Return the names of the sets in the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_prompts(name: str | Path) -> PromptSet:
    """Read a set of prompts: one of `prompt_sets()`, or a YAML file.

    Raises:
        ConfigError: if there is no such set, or the file lacks a part.
    """
    import yaml

    path = _FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
        if path.suffix not in (".yaml", ".yml") or not path.is_file():
            known = prompt_sets()
            raise ConfigError(
                f"--prompts must be one of {', '.join(known)}, or a YAML file."
                f"{did_you_mean(name, known)} Received: {str(name)!r}"
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The prompts {path} cannot be read: {error}") from error
    return _checked(content, path)


def _checked(content: Any, path: Path) -> PromptSet:
    def refuse(rule: str) -> ConfigError:
        return ConfigError(
            f"The prompts {path}: {rule}. See `breastus.vlm.prompts` for an example."
        )

    if not isinstance(content, dict):
        raise refuse("the file must be a mapping")
    kinds = {"name": str, "version": int, "description": str, "questions": list, "answers": dict}
    kinds |= {"history": str, "report": str}
    for part, kind in kinds.items():
        if not isinstance(content.get(part), kind) or not content[part]:
            raise refuse(f"{part} must be given, as {kind.__name__}")
    if spare := sorted(content.keys() - kinds):
        raise refuse(f"{spare[0]} is unknown")
    for part, places in _PLACES.items():
        texts = content[part] if part == "questions" else [content[part]]
        for text in texts:
            if not isinstance(text, str) or any(text.count(place) != 1 for place in places):
                raise refuse(f"each text of {part} must hold {' and '.join(places)} once")
    spellings = []
    for label in LABELS[::-1]:
        words = content["answers"].get(label)
        # Without quotation marks, YAML reads Yes and No as true and false.
        if not words or not all(isinstance(word, str) for word in words):
            raise refuse(f"answers.{label} must be words in quotation marks")
        spellings.append(tuple(words))
    if shared := set(spellings[0]) & set(spellings[1]):
        raise refuse(f"{sorted(shared)[0]!r} cannot mean both answers")
    return PromptSet(
        content["name"],
        content["version"],
        content["description"],
        tuple(content["questions"]),
        *spellings,
        content["history"],
        content["report"],
    )
