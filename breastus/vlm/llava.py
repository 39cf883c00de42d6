"""LLaVA-Med in Keras: a CLIP vision tower, a projector of two layers, and Mistral.

The networks are KerasHub's. Here are the weights, how an image becomes tokens, how likely an answer
is, and greedy generation. After an image the model is asked several questions, and the tokens
before the first question are computed once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from breastus.errors import ConfigError, WeightsError
from breastus.models.weights.kerashub import load_preset
from breastus.vlm.checkpoint import Checkpoint
from breastus.vlm.llava_config import LanguageConfig, LlavaConfig, TowerConfig
from breastus.vlm.memory import PRECISIONS, QUANTIZATIONS, check_memory
from breastus.vlm.pixels import tower_pixels
from breastus.vlm.tokenizer import IMAGE, Tokenizer

CLIP_PRESET = "clip_vit_large_patch14_336"  # of KerasHub: OpenAI's tower, before LLaVA's training
PROMPT = f"[INST] {IMAGE}\n{{question}} [/INST]"  # of Mistral's instructions, without a system text
_BLOCK = 32  # tokens are computed in multiples of this, so that few graphs are traced

# Our layers to names of tensors, {0} being the number of the layer.
_TOWER_LAYERS = (
    (r"embedding/patch_embedding", "vision.embeddings.patch_embedding"),
    (r"embedding/position_embedding", "vision.embeddings.position_embedding"),
    (r"pre_layer_norm", "vision.pre_layrnorm"),
    (r"layer_norm", "vision.post_layernorm"),
    (r"encoder_block_(\d+)/layer_norm_([12])", "vision.encoder.layers.{0}.layer_norm{1}"),
    (r"encoder_block_(\d+)/dense_([12])", "vision.encoder.layers.{0}.mlp.fc{1}"),
    (r"encoder_block_(\d+)/attention/(query|key|value)", "vision.encoder.layers.{0}.self_attn.{1}"),
    (
        r"encoder_block_(\d+)/attention/attention_output",
        "vision.encoder.layers.{0}.self_attn.out_proj",
    ),
)
_PROJECTOR_LAYERS = ((r"projector_([12])", "projector.{0}"),)
_DECODER = r"transformer_layer_(\d+)/"
_LANGUAGE_LAYERS = (
    (r"token_embedding", "language.embed_tokens"),
    (r"sequence_output_layernorm", "language.norm"),
    (_DECODER + r"self_attention/(query|key|value)", "language.layers.{0}.self_attn.{1}"),
    (_DECODER + r"self_attention/attention_output", "language.layers.{0}.self_attn.o_proj"),
    (_DECODER + r"self_attention_layernorm", "language.layers.{0}.input_layernorm"),
    (_DECODER + r"feedforward_layernorm", "language.layers.{0}.post_attention_layernorm"),
    (_DECODER + r"feedforward_gate_dense", "language.layers.{0}.mlp.gate_proj"),
    (_DECODER + r"feedforward_intermediate_dense", "language.layers.{0}.mlp.up_proj"),
    (_DECODER + r"feedforward_output_dense", "language.layers.{0}.mlp.down_proj"),
)
_QUERIES = {".query": ".q_proj", ".key": ".k_proj", ".value": ".v_proj"}
_BIASES = ("bias", "beta")


@dataclass(frozen=True)
class _State:
    """The tokens read so far: keys and values of each layer, their number, the next logits."""

    caches: list[tf.Tensor]
    length: int
    logits: np.ndarray | None = None  # float32 [tokens]


class LlavaMed:
    """A loaded checkpoint.

    Args:
        checkpoint: files in the original layout or in llava-hf's.
        precision: number format of the weights and the computation.
        quantize: "int8" stores the language model in 8 bits, by Keras' own quantization.
        tower: "checkpoint"; "clip" for OpenAI's original weights, which Microsoft's own code loads
            in the place of the checkpoint's; or the folder of a KerasHub preset of CLIP.

    Attributes:
        config: a `LlavaConfig`.
        tokenizer: a `Tokenizer`.
        tower, projector, language: the Keras models.

    Raises:
        ConfigError: if an option is unknown.
        HardwareError: if the model does not fit into memory.
        WeightsError: if a tensor is missing, spare, of another shape or not finite, or if the
            checkpoint is of another architecture.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: str = "bfloat16",
        quantize: str = "none",
        tower: str = "checkpoint",
    ):
        for name, value, known in (
            ("precision", precision, PRECISIONS),
            ("quantize", quantize, QUANTIZATIONS),
        ):
            if value not in known:
                raise ConfigError(
                    f"{name} must be one of {', '.join(known)}. Received: {name}={value!r}"
                )
        self.config = config = LlavaConfig.of(checkpoint)
        checkpoint.check(config.shapes())
        check_memory(config, precision=precision, quantize=quantize)
        self.tokenizer = Tokenizer(checkpoint.tokenizer_file, legacy=config.legacy)
        weights = _Weights(checkpoint, config)
        self.tower = _load_tower(weights, config, precision, tower)
        self.projector = _build_projector(config, precision)
        weights.load(self.projector.weights, _PROJECTOR_LAYERS)
        self.language = _build_language(config.language, precision, quantize)
        for layer in self.language.layers:
            if layer.weights:
                weights.load_layer(layer, _LANGUAGE_LAYERS, precision, quantize)
        weights.check_all_used()
        # Rounded to bfloat16, log odds would have steps of up to 0.1.
        self.language.token_embedding.reverse_dtype = "float32"
        self._room = -(-config.context // _BLOCK) * _BLOCK + _BLOCK
        self._read = tf.function(self._read_tokens)

    @property
    def image_size(self) -> int:
        """Side of the input of the vision tower in pixels."""
        return self.config.tower.image_size

    @property
    def free_tokens(self) -> int:
        """Number of tokens that prompt and answer may have beside the image."""
        return self.config.context - self.config.tower.patches

    def count_tokens(self, question: str) -> int:
        """Return the number of tokens of a prompt with this question, beside the image's."""
        return sum(map(len, self._prompt_ids(question)))

    def look(self, image: np.ndarray) -> "Look":
        """Return the model with an image, uint8 [H, W, 3], before it, ready for questions."""
        before, _ = self._prompt_ids("")
        state = _State(self._empty_caches(), 0)
        state = self._extend(state, self._embed(before))
        return Look(self, self._extend(state, self.image_tokens(image)))

    def image_tokens(self, image: np.ndarray) -> np.ndarray:
        """Return an image, uint8 [H, W, 3], as [patches, width of the language model]."""
        return self._project(self.features(image))

    def features(self, image: np.ndarray) -> np.ndarray:
        """Return the `patch_features` of an image, uint8 [H, W, 3]."""
        return patch_features(self.tower, image)

    def _project(self, features: np.ndarray) -> np.ndarray:
        return ops.convert_to_numpy(self.projector(features[None], training=False))[0]

    def _prompt_ids(self, question: str) -> tuple[list[int], list[int]]:
        before, after = PROMPT.format(question=question).split(IMAGE, 1)
        return self.tokenizer.encode_prompt(before, after)

    def _embed(self, ids: Sequence[int]) -> np.ndarray:
        return ops.convert_to_numpy(self.language.token_embedding(np.array(ids, "int32")))

    def _empty_caches(self) -> list[tf.Tensor]:
        config = self.config.language
        shape = (1, 2, self._room, config.key_heads, config.head_width)
        return [ops.zeros(shape, self.language.compute_dtype) for _ in range(config.layers)]

    def _extend(self, state: _State, embedded: np.ndarray) -> _State:
        """Return the state after further tokens, given as embeddings [tokens, width]."""
        count = len(embedded)
        if (end := state.length + count) > self.config.context:
            raise ConfigError(
                f"Prompt and answer must fit into {self.config.context} tokens, of which the image "
                f"takes {self.config.tower.patches}. Shorten the question. Received: {end} tokens"
            )
        # The padding behind the tokens is never attended to; later tokens overwrite it.
        padded = count if count == 1 else -(-count // _BLOCK) * _BLOCK
        embedded = np.pad(embedded, ((0, padded - count), (0, 0)))
        logits, caches = self._read(
            tf.constant(embedded[None]),
            state.caches,
            tf.constant(state.length),
            tf.constant(count - 1),
        )
        return _State(caches, end, logits.numpy())

    def _read_tokens(self, x, caches, start, last):
        """Return the logits at position `last` of the new tokens, and the caches with them."""
        decoders = self.language.transformer_layers
        kept = []
        for decoder, cache in zip(decoders, caches, strict=True):
            x, cache = decoder(
                x, self_attention_cache=cache, self_attention_cache_update_index=start
            )
            kept.append(cache)
        x = self.language.layer_norm(x[:, last])
        logits = self.language.token_embedding(x, reverse=True)
        return ops.cast(logits[0], "float32"), kept


class Look:
    """A model that has seen one image; each question is independent of the others."""

    def __init__(self, model: LlavaMed, state: _State):
        self._model, self._state = model, state

    def next_logits(self, question: str) -> np.ndarray:
        """Return the logits of the first token of the reply, float32 [tokens]."""
        return self._after(question).logits

    def log_likelihoods(self, question: str, answers: Sequence[str]) -> np.ndarray:
        """Return the log likelihood of each answer as the beginning of the reply, float64 [n].

        An answer may follow a space or not; the likelihoods of both ways are added.
        """
        model, state, found = self._model, self._after(question), []
        for answer in answers:
            ways = {tuple(model.tokenizer.encode(answer, space=space)) for space in (True, False)}
            found.append(np.logaddexp.reduce([self._of_tokens(state, way) for way in sorted(ways)]))
        return np.array(found)

    def generate(self, question: str, max_tokens: int) -> str:
        """Return the reply, always with the likeliest token, of at most `max_tokens` tokens."""
        return self._model.tokenizer.decode(self.generate_tokens(question, max_tokens))

    def generate_tokens(self, question: str, max_tokens: int) -> list[int]:
        """Return the tokens of `generate`, without the end token."""
        model, state = self._model, self._after(question)
        tokens: list[int] = []
        while True:
            token = int(state.logits.argmax())
            if token == model.tokenizer.eos:
                return tokens
            tokens.append(token)
            if len(tokens) == max_tokens or state.length == model.config.context:
                return tokens
            state = model._extend(state, model._embed([token]))

    def _after(self, question: str) -> _State:
        model = self._model
        return model._extend(self._state, model._embed(model._prompt_ids(question)[1]))

    def _of_tokens(self, state: _State, tokens: Sequence[int]) -> float:
        total = 0.0
        for number, token in enumerate(tokens):
            if number:
                state = self._model._extend(state, self._model._embed([tokens[number - 1]]))
            logits = state.logits.astype(np.float64)
            total += logits[token] - np.logaddexp.reduce(logits)
        return total


class _Weights:
    """Gives each tensor of a checkpoint to one variable, and knows which were not used yet."""

    def __init__(self, checkpoint: Checkpoint, config: LlavaConfig):
        self._checkpoint, self._config = checkpoint, config
        self._left = set(checkpoint.tensors)

    def load(self, variables: Iterable[keras.Variable], names: Sequence[tuple[str, str]]) -> None:
        """Assign tensors to variables; `names` maps paths of layers to names of tensors."""
        for variable in variables:
            if variable.path.endswith("position_ids"):
                variable.assign(np.arange(variable.shape[1])[None])
                continue
            name = self._config.file_name(_tensor_name(variable.path, names))
            if name not in self._left:
                raise AssertionError(f"{name} is used twice")
            self._left.remove(name)
            tensor = self._checkpoint.read(name).astype("float32")
            if not np.isfinite(tensor).all():
                raise WeightsError(
                    f"{name} of the checkpoint {self._checkpoint.folder} is not finite. Download "
                    "the checkpoint again."
                )
            if tensor.ndim == 4:
                tensor = tensor.transpose(2, 3, 1, 0)
            elif variable.path.endswith(("kernel", "reverse_embeddings")):
                tensor = tensor.T  # PyTorch has the outputs first
            variable.assign(tensor.reshape(variable.shape))  # heads have an axis of their own

    def load_layer(
        self, layer: keras.Layer, names: Sequence[tuple[str, str]], precision: str, quantize: str
    ) -> None:
        """Assign tensors to a layer, which is quantized if its variables are.

        A twin of the layer is loaded and quantized, so that no more than one layer is in memory in
        full precision.
        """
        if quantize == "none":
            self.load(layer.weights, names)
            return
        twin = type(layer).from_config({**layer.get_config(), "dtype": precision})
        twin.build(layer.get_build_config()["input_shape"])
        self.load(twin.weights, names)
        for part in twin._flatten_layers():
            if isinstance(part, layers.Dense | layers.EinsumDense | layers.Embedding):
                part.quantize(quantize)
        values = {variable.path: variable for variable in twin.weights}
        for variable in layer.weights:
            variable.assign(values[variable.path])

    def leave_out(self, part: str) -> None:
        """Count the tensors of a part, such as `vision.`, as used."""
        prefix = self._config.layout[part]
        self._left = {name for name in self._left if not name.startswith(prefix)}

    def check_all_used(self) -> None:
        """Raise AssertionError if a tensor has no variable."""
        if self._left:
            raise AssertionError(f"no variable is known for {sorted(self._left)[0]}")


def load_tower(
    checkpoint: Checkpoint, *, precision: str = "bfloat16", tower: str = "checkpoint"
) -> keras.Model:
    """Return the vision tower of a checkpoint alone; arguments and errors as of `LlavaMed`."""
    config = LlavaConfig.of(checkpoint)
    checkpoint.check(config.shapes())
    return _load_tower(_Weights(checkpoint, config), config, precision, tower)


def patch_features(tower: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return what the language model gets of an image, before the projector.

    Args:
        tower: vision tower that `load_tower` returned.
        image: uint8 [H, W, 3], RGB.

    Returns:
        Features of each patch, [patches, width], without the class token.
    """
    pixels = tower_pixels(image, tower.image_shape[0])[None]
    outputs = tower({"images": ops.convert_to_tensor(pixels)}, training=False)
    return ops.convert_to_numpy(outputs["intermediate_output"])[0, 1:]


def _load_tower(weights: _Weights, config: LlavaConfig, precision: str, tower: str) -> keras.Model:
    model = _build_tower(config.tower, config.feature_layer, precision)
    if tower == "checkpoint":
        weights.load(model.weights, _TOWER_LAYERS)
    else:
        _copy_tower(model, CLIP_PRESET if tower == "clip" else tower)
        weights.leave_out("vision.")
    return model


def _tensor_name(path: str, names: Sequence[tuple[str, str]]) -> str:
    """Return our name of the tensor that belongs to the variable with this path."""
    layer, _, part = path.rpartition("/")
    if part == "class_embedding":
        return "vision.embeddings.class_embedding"
    if part == "reverse_embeddings":
        return "head.weight"
    for pattern, name in names:
        if match := re.fullmatch(pattern, layer):
            name = name.format(*match.groups())
            for ours, theirs in _QUERIES.items():
                name = name.removesuffix(ours) + theirs if name.endswith(ours) else name
            return f"{name}.{'bias' if part in _BIASES else 'weight'}"
    raise AssertionError(f"no tensor is known for {path}")


def _build_tower(config: TowerConfig, feature_layer: int, precision: str) -> keras.Model:
    from keras_hub.models import CLIPVisionEncoder

    return CLIPVisionEncoder(
        patch_size=config.patch_size,
        hidden_dim=config.width,
        num_layers=config.layers,
        num_heads=config.heads,
        intermediate_dim=config.mlp,
        # `transformers` counts the embeddings as the first output, KerasHub counts layers only;
        # from the end both count alike.
        intermediate_output_index=feature_layer,
        image_shape=(config.image_size, config.image_size, 3),
        dtype=precision,
    )


def _build_projector(config: LlavaConfig, precision: str) -> keras.Model:
    features = keras.Input((None, config.tower.width), name="features")
    width = config.language.width
    x = layers.Dense(width, name="projector_1", dtype=precision)(features)
    x = layers.Activation("gelu", dtype=precision)(x)  # the exact one
    x = layers.Dense(width, name="projector_2", dtype=precision)(x)
    return keras.Model(features, x, name="projector")


def _build_language(config: LanguageConfig, precision: str, quantize: str) -> keras.Model:
    from keras_hub.models import MistralBackbone

    dtype: str | keras.dtype_policies.DTypePolicyMap = precision
    if quantize != "none":
        # A quantized policy for the whole model would quantize its layers a second time.
        names = (
            "token_embedding",
            r"transformer_layer_\d+/(self_attention/\w+|feedforward_\w+_dense)",
        )
        policy = keras.dtype_policies.get(f"{quantize}_from_{precision}")
        dtype = keras.dtype_policies.DTypePolicyMap(
            default_policy=precision, policy_map=dict.fromkeys(names, policy)
        )
    return MistralBackbone(
        vocabulary_size=config.tokens,
        num_layers=config.layers,
        num_query_heads=config.heads,
        hidden_dim=config.width,
        intermediate_dim=config.mlp,
        num_key_value_heads=config.key_heads,
        rope_max_wavelength=config.rope,
        layer_norm_epsilon=config.epsilon,
        sliding_window=config.window,
        head_dim=config.head_width,
        dtype=dtype,
    )


def _copy_tower(tower: keras.Model, preset: str) -> None:
    """Copy the vision tower of a CLIP preset of KerasHub, which must have the same sizes."""
    from keras_hub.models import CLIPBackbone

    try:
        loaded = load_preset(CLIPBackbone, preset).vision_encoder
    except WeightsError as error:
        reason = (str(error.__cause__ or error).splitlines() or [""])[0]
        raise WeightsError(
            f"The vision tower {preset} could not be loaded: {reason} Check the network, name the "
            "folder of a KerasHub preset of CLIP (--tower FOLDER), or use --tower checkpoint."
        ) from error
    ours, theirs = ([tuple(v.shape) for v in one.weights] for one in (tower, loaded))
    if ours != theirs:
        raise WeightsError(
            f"The vision tower {preset} must have the sizes of the checkpoint's: "
            f"{tower.count_params():,} parameters. Received: {loaded.count_params():,}"
        )
    for variable, value in zip(tower.weights, loaded.weights, strict=True):
        variable.assign(value)
