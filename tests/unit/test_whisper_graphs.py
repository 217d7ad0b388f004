"""The authored graphs, on a small model with random weights in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from export.whisper.checkpoint import Checkpoint, Dimensions
from export.whisper.conversion import encode_silence
from export.whisper.decoder import author_decoder
from export.whisper.encoder import author_encoder
from export.whisper.graph import Precision
from export.whisper.silence import NEVER, Silence

SIZES = Dimensions(
    mels=8,
    audio_context=40,
    state=128,
    heads=2,
    audio_layers=2,
    text_layers=2,
    text_context=16,
    vocabulary=50,
)
RANDOM = np.random.default_rng(0)


def linear(tensors: dict[str, np.ndarray], name: str, outputs: int, *, bias: bool = True) -> None:
    tensors[f"{name}.weight"] = RANDOM.normal(0, 0.08, (outputs, SIZES.state))
    if bias:
        tensors[f"{name}.bias"] = RANDOM.normal(0, 0.1, outputs)


def norm(tensors: dict[str, np.ndarray], name: str) -> None:
    tensors[f"{name}.weight"] = RANDOM.normal(1, 0.1, SIZES.state)
    tensors[f"{name}.bias"] = RANDOM.normal(0, 0.1, SIZES.state)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    tensors: dict[str, np.ndarray] = {}
    state = SIZES.state
    for number, inputs in ((1, SIZES.mels), (2, state)):
        tensors[f"encoder.conv{number}.weight"] = RANDOM.normal(0, 0.1, (state, inputs, 3))
        tensors[f"encoder.conv{number}.bias"] = RANDOM.normal(0, 0.1, state)
    for side, context, layers in (("encoder", 40, 2), ("decoder", 16, 2)):
        tensors[f"{side}.positional_embedding"] = RANDOM.normal(0, 0.5, (context, state))
        for layer in range(layers):
            block = f"{side}.blocks.{layer}"
            for kind in ("attn", "cross_attn")[: 1 if side == "encoder" else 2]:
                norm(tensors, f"{block}.{kind}_ln")
                for part in ("query", "key", "value", "out"):
                    linear(tensors, f"{block}.{kind}.{part}", state, bias=part != "key")
            norm(tensors, f"{block}.mlp_ln")
            linear(tensors, f"{block}.mlp.0", state)
            linear(tensors, f"{block}.mlp.2", state)
    norm(tensors, "encoder.ln_post")
    norm(tensors, "decoder.ln")
    tensors["decoder.token_embedding.weight"] = RANDOM.normal(0, 0.5, (SIZES.vocabulary, state))
    return Checkpoint(SIZES, {name: value.astype(np.float16) for name, value in tensors.items()})


@pytest.fixture(scope="module")
def silence(checkpoint: Checkpoint) -> Silence:
    return encode_silence(checkpoint, -1.0)


def run(model: object, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),  # type: ignore[attr-defined]
        providers=["CPUExecutionProvider"],
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def encode(model: object, *mels: np.ndarray) -> dict[str, np.ndarray]:
    batch = np.zeros((len(mels), SIZES.mels, max(mel.shape[1] for mel in mels)), dtype=np.float32)
    for row, mel in zip(batch, mels, strict=True):
        row[:, : mel.shape[1]] = mel
    lengths = np.array([mel.shape[1] // 2 for mel in mels])
    return run(model, {"mel": batch, "lengths": lengths})


def speech(frames: int) -> np.ndarray:
    return RANDOM.normal(0, 0.5, (SIZES.mels, frames)).astype(np.float32)


def test_with_speech_to_the_end_of_the_context_silence_plays_no_part(
    checkpoint: Checkpoint, silence: Silence
) -> None:
    mel = speech(2 * SIZES.audio_context)
    plain = encode(author_encoder(checkpoint, precision=Precision.FLOAT32, silence=None), mel)
    ours = encode(author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence), mel)
    for name in plain:
        if name.startswith(("cross_key", "cross_value")):
            own = ours[name][:, :, SIZES.audio_context :]
            np.testing.assert_allclose(own, plain[name], atol=1e-5)


def test_silence_at_the_length_of_a_word_is_silence_of_the_whole_context(
    checkpoint: Checkpoint, silence: Silence
) -> None:
    """The one input for which the cached silence is not an approximation, but for the edge.

    So few positions are each a group of their own.
    """
    encoder = author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence)
    whole = encode(encoder, np.full((SIZES.mels, 80), -1.0, dtype=np.float32))
    short = encode(encoder, np.full((SIZES.mels, 20), -1.0, dtype=np.float32))
    context = SIZES.audio_context
    weights = short["cross_score_0"][0, 0, 0]
    assert (weights[:context] == NEVER).sum() == 10
    assert (weights[:context] == 0).sum() == context - 10
    np.testing.assert_array_equal(weights[context:], 0)
    # The last position sees the edge of the clip, where the convolution has zeros.
    np.testing.assert_allclose(
        short["cross_value_0"][:, :, context : context + 9],
        whole["cross_value_0"][:, :, context : context + 9],
        atol=0.05,
    )


@pytest.mark.parametrize("precision", list(Precision))
def test_a_clip_is_encoded_alone_as_with_longer_neighbours(
    checkpoint: Checkpoint, silence: Silence, precision: Precision
) -> None:
    encoder = author_encoder(checkpoint, precision=precision, silence=silence)
    clips = [speech(frames) for frames in (20, 36, 28)]
    together = encode(encoder, *clips)
    for index, clip in enumerate(clips):
        alone = encode(encoder, clip)
        for name, values in alone.items():
            axis = 2 if name.startswith("cross_score") else 1
            own, filling = np.split(together[name][index], [values.shape[axis + 1]], axis=axis)
            np.testing.assert_allclose(values[0], own, atol=2e-3)
            assert axis == 1 or (filling == NEVER).all()


def step(
    decoder: object,
    tokens: list[list[int]],
    cross: dict[str, np.ndarray],
    past: dict[str, np.ndarray] | None = None,
    *,
    padding: list[int] | None = None,
    scored: int = 1,
) -> dict[str, np.ndarray]:
    empty = np.zeros((len(tokens), SIZES.heads, 0, SIZES.state // SIZES.heads), dtype=np.float32)
    kept = past or {
        f"present_{kind}_{layer}": empty for kind in ("key", "value") for layer in range(2)
    }
    caches = {
        name.replace("present", "past"): value
        for name, value in kept.items()
        if name.startswith("present")
    }
    inputs = {
        "tokens": np.array(tokens, dtype=np.int64),
        "padding": np.array(padding or [0] * len(tokens)),
        "scored": np.array([scored]),
    }
    return run(decoder, {**inputs, **caches, **cross})


@pytest.mark.parametrize("precision", list(Precision))
def test_tokens_one_by_one_give_the_logits_of_all_at_once(
    checkpoint: Checkpoint, silence: Silence, precision: Precision
) -> None:
    encoder = author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence)
    decoder = author_decoder(checkpoint, precision=precision)
    cross = encode(encoder, speech(20))
    at_once = step(decoder, [[3, 1, 4, 1]], cross)
    first = step(decoder, [[3, 1]], cross)
    second = step(decoder, [[4]], cross, first)
    third = step(decoder, [[1]], cross, second)
    np.testing.assert_allclose(third["logits"], at_once["logits"], atol=5e-2)
    assert third["present_key_0"].shape[2] == 4
    assert third["logits"].argmax() == at_once["logits"].argmax()


@pytest.mark.parametrize("precision", list(Precision))
def test_as_many_of_the_last_tokens_have_logits_as_are_asked_for(
    checkpoint: Checkpoint, silence: Silence, precision: Precision
) -> None:
    encoder = author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence)
    decoder = author_decoder(checkpoint, precision=precision)
    cross = encode(encoder, speech(20))
    three = step(decoder, [[3, 1, 4, 1]], cross, scored=3)["logits"]
    assert three.shape == (1, 3, SIZES.vocabulary)
    for index, tokens in enumerate(([3, 1], [3, 1, 4], [3, 1, 4, 1])):
        one = step(decoder, [tokens], cross)["logits"]
        np.testing.assert_allclose(three[:, index], one[:, 0], atol=5e-2)


@pytest.mark.parametrize("precision", list(Precision))
def test_padding_in_front_changes_nothing_now_nor_later(
    checkpoint: Checkpoint, silence: Silence, precision: Precision
) -> None:
    encoder = author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence)
    decoder = author_decoder(checkpoint, precision=precision)
    cross = encode(encoder, speech(20), speech(20))
    together = step(decoder, [[7, 7, 3, 1], [2, 7, 1, 8]], cross, padding=[2, 0])
    own = {name: value[:1] for name, value in cross.items()}
    alone = step(decoder, [[3, 1]], own)
    np.testing.assert_allclose(together["logits"][:1], alone["logits"], atol=2e-3)
    together = step(decoder, [[4], [2]], cross, together, padding=[2, 0])
    alone = step(decoder, [[4]], own, alone)
    np.testing.assert_allclose(together["logits"][:1], alone["logits"], atol=2e-3)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_logits_do_not_depend_on_the_neighbours_at_all(
    checkpoint: Checkpoint, silence: Silence, batch: int
) -> None:
    encoder = author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence)
    decoder = author_decoder(checkpoint, precision=Precision.INT8_BLOCKS)
    cross = encode(encoder, *[speech(20) for _ in range(5)])
    everyone = step(decoder, [[index] for index in range(5)], cross)
    some = step(
        decoder,
        [[index] for index in range(batch)],
        {name: value[:batch] for name, value in cross.items()},
    )
    np.testing.assert_array_equal(some["logits"], everyone["logits"][:batch])


@pytest.mark.parametrize("precision", [Precision.INT8_ROWS, Precision.INT8_BLOCKS])
def test_8_bits_stay_near_float(
    checkpoint: Checkpoint, silence: Silence, precision: Precision
) -> None:
    mel = speech(30)
    exact = encode(author_encoder(checkpoint, precision=Precision.FLOAT32, silence=silence), mel)
    rounded = encode(author_encoder(checkpoint, precision=precision, silence=silence), mel)
    for name in exact:
        if name.startswith("cross_score"):
            continue
        difference = np.abs(rounded[name] - exact[name]).mean()
        assert 0 < difference < 0.03 * np.abs(exact[name]).mean()
