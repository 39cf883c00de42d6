"""Text and one image to token ids, as the checkpoint's training did it.

The prompt is cut at `<image>` and its pieces are encoded with the SentencePiece model of the
checkpoint. SentencePiece puts a space before a text. The original code of LLaVA-Med encodes each
piece as a text of its own, so that a space follows the image; tokenizers of `transformers` with
`legacy=False` put it before the first piece only.
"""

from collections.abc import Sequence
from pathlib import Path

IMAGE = "<image>"


class Tokenizer:
    """The SentencePiece model of a Llama or Mistral checkpoint.

    Args:
        file: tokenizer.model.
        legacy: true to put a space before the text that follows the image.
    """

    def __init__(self, file: Path, *, legacy: bool):
        from sentencepiece import SentencePieceProcessor
        from sentencepiece.sentencepiece_model_pb2 import ModelProto

        content = Path(file).read_bytes()
        self._with_space = SentencePieceProcessor(model_proto=content)
        # The Python interface cannot switch the space off, so that the model is changed.
        model = ModelProto()
        model.ParseFromString(content)
        model.normalizer_spec.add_dummy_prefix = False
        self._as_written = SentencePieceProcessor(model_proto=model.SerializeToString())
        self.legacy = legacy
        self.bos, self.eos = self._with_space.bos_id(), self._with_space.eos_id()

    def encode(self, text: str, *, space: bool) -> list[int]:
        """Return the token ids of a text, with or without a space before it."""
        return (self._with_space if space else self._as_written).encode(text)

    def encode_prompt(self, before: str, after: str) -> tuple[list[int], list[int]]:
        """Return the token ids before the image, from the start token on, and after it."""
        first = [self.bos, *self.encode(before, space=True)]
        return first, self.encode(after, space=self.legacy)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of generated tokens, without start and end tokens."""
        known = [one for one in ids if one < self._with_space.vocab_size()]
        return self._with_space.decode(known)
