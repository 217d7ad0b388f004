"""Whisper for `model_repository/asr/1/`: ONNX graphs authored from a checkpoint's weights.

`convert(source_files, out)` takes the files of one carrier by these names and writes
`encoder.onnx`, `decoder.onnx`, `tokenizer.json` and `whisper.json` into `out`:

whisper-base (CTranslate2, float16)
    `model.bin`, joined of its carrier's two parts, and `tokenizer.json`.
whisper-tiny (ggml, float16)
    `whisper-tiny.bin` alone: its vocabulary is enough for the tokenizer.

A `tokenizer.json` tells a CTranslate2 checkpoint from a ggml one, whatever the files of weights are
called. Tried with tiny and base; multilingual small and medium have the same graph.

Neither torch nor network is needed. Some 800 MB of memory and 5 s of one core for base.
`model_repository/asr/1/silero_vad.onnx` is a copy of `silero_vad/data/silero_vad_16k_sequence.onnx`
of `silero-vad`: it takes all windows of a chunk in one run.
"""

from export.whisper.checkpoint import CheckpointError
from export.whisper.conversion import convert

__all__ = ["CheckpointError", "convert"]
