"""From a Whisper checkpoint to the files of `model_repository/asr/1/`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime

from export.whisper import ctranslate2, ggml, vocabulary
from export.whisper.checkpoint import Array, Checkpoint, CheckpointError
from export.whisper.decoder import author_decoder
from export.whisper.encoder import author_encoder
from export.whisper.graph import Precision
from export.whisper.silence import Silence
from tritalk.asr.model_config import WhisperModel

SILENCE_LEVEL = -1.0


def convert(source_files: Mapping[str, Path], out: Path) -> None:
    """Write `encoder.onnx`, `decoder.onnx`, `tokenizer.json` and `whisper.json`.

    Args:
        source_files: The carrier's files by the names that `export.whisper` tells.
        out: An existing folder.

    Raises:
        CheckpointError: The files are not a multilingual Whisper checkpoint of a known format.
    """
    checkpoint, tokens = read_checkpoint(source_files)
    if checkpoint.dimensions.vocabulary != vocabulary.VOCABULARY:
        raise CheckpointError(
            f"the checkpoint has {checkpoint.dimensions.vocabulary} tokens, "
            f"{vocabulary.VOCABULARY} are supported (multilingual tiny, base, small, medium)"
        )
    tokenizer = vocabulary.build_tokenizer(tokens)
    silence = encode_silence(checkpoint, SILENCE_LEVEL)
    encoder = author_encoder(checkpoint, precision=Precision.INT8_ROWS, silence=silence)
    onnx.save(encoder, out / "encoder.onnx")
    del encoder, silence
    onnx.save(author_decoder(checkpoint, precision=Precision.INT8_BLOCKS), out / "decoder.onnx")
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    description = _description(checkpoint, vocabulary.non_speech_tokens(tokenizer))
    (out / "whisper.json").write_bytes(msgspec.json.format(msgspec.json.encode(description)))


def read_checkpoint(source_files: Mapping[str, Path]) -> tuple[Checkpoint, list[bytes]]:
    """A checkpoint and the bytes of its text tokens; see `convert`."""
    files = dict(source_files)
    tokenizer = files.pop("tokenizer.json", None)
    if len(files) != 1:
        raise CheckpointError(f"one file of weights is expected, not {sorted(files)}")
    (weights,) = files.values()
    if tokenizer is None:
        return ggml.read(weights)
    return ctranslate2.read(weights), vocabulary.text_tokens(tokenizer)


def encode_silence(checkpoint: Checkpoint, level: float) -> Silence:
    """Encode 30 s of silence with the float32 encoder.

    Args:
        checkpoint: Sizes and weights.
        level: The log-mel value of silence.
    """
    sizes = checkpoint.dimensions
    model = author_encoder(checkpoint, precision=Precision.FLOAT32, silence=None)
    with tempfile.TemporaryDirectory() as folder:
        # Through a file, since a serialised model in memory would be held twice.
        path = Path(folder, "encoder.onnx")
        onnx.save(model, path)
        del model
        session = onnxruntime.InferenceSession(path, _options(), ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    mel = np.full((1, sizes.mels, 2 * sizes.audio_context), level, dtype=np.float32)
    lengths = np.array([sizes.audio_context])
    results = dict(zip(names, session.run(None, {"mel": mel, "lengths": lengths}), strict=True))

    def layers(kind: str, count: int) -> tuple[Array, ...]:
        return tuple(results[f"{kind}_{layer}"].astype(np.float16) for layer in range(count))

    return Silence(
        keys=layers("key", sizes.audio_layers),
        values=layers("value", sizes.audio_layers),
        cross_keys=layers("cross_key", sizes.text_layers),
        cross_values=layers("cross_value", sizes.text_layers),
    )


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def _description(checkpoint: Checkpoint, non_speech: list[int]) -> WhisperModel:
    sizes = checkpoint.dimensions
    special = [
        vocabulary.START,
        vocabulary.TRANSLATE,
        vocabulary.TRANSCRIBE,
        vocabulary.START_OF_LM,
        vocabulary.START_OF_PREVIOUS,
        vocabulary.NO_SPEECH,
        vocabulary.NO_TIMESTAMPS,
    ]
    return WhisperModel(
        name=f"whisper-{ {384: 'tiny', 512: 'base', 768: 'small'}.get(sizes.state, 'medium') }",
        mels=sizes.mels,
        audio_context=sizes.audio_context,
        text_context=sizes.text_context,
        state=sizes.state,
        heads=sizes.heads,
        audio_layers=sizes.audio_layers,
        text_layers=sizes.text_layers,
        vocabulary=sizes.vocabulary,
        silence_levels=(SILENCE_LEVEL,),
        start=vocabulary.START,
        end=vocabulary.END_OF_TEXT,
        transcribe=vocabulary.TRANSCRIBE,
        no_timestamps=vocabulary.NO_TIMESTAMPS,
        first_timestamp=vocabulary.FIRST_TIMESTAMP,
        blank=220,
        barred=tuple(sorted({*non_speech, *special})),
        languages={
            code: vocabulary.FIRST_LANGUAGE + index
            for index, code in enumerate(vocabulary.LANGUAGES)
        },
    )
