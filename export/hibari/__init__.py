"""hibari's voice with the lengths of its phonemes as an output.

The network predicts how long each phoneme lasts before it predicts the sound, and the lips need to
know it. The value is in the graph already; it is only made an output, and the sound stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import helper

RESULT = "hibari.onnx"
DURATIONS = "durations"
"""Output of the converted graph: int64 `[L]`, one value a phoneme id, in units of 600 samples."""

VOICE_KEY = "voice"
BRITISH_KEY = "british"
"""Entries of the graph's metadata that say which voice it is and how it reads English."""

_OUTPUTS = ["lh", "theta", "ln", "lr", "phi", "f0"]
# The rounded lengths, at least one each: how often the network repeats each phoneme's state.
_INNER_DURATIONS = "/Cast_32_output_0"


def convert(source_files: Mapping[str, Path], out: Path) -> None:
    """Write `hibari.onnx` with the output `durations`.

    Args:
        source_files: The carrier's `hibari.onnx`, by that name.
        out: Folder of the result.

    Raises:
        ValueError: The file is not the graph of hibari-tts 0.2.
    """
    path = source_files[RESULT]
    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise ValueError(f"{path.name} is not an ONNX file: {error}") from error
    graph = model.graph
    made = {output for node in graph.node for output in node.output}
    if [output.name for output in graph.output] != _OUTPUTS or _INNER_DURATIONS not in made:
        raise ValueError(
            f"{path.name} is not the graph of hibari-tts 0.2: it has no {_INNER_DURATIONS}"
        )
    graph.node.append(helper.make_node("Identity", [_INNER_DURATIONS], [DURATIONS]))
    graph.output.append(helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.INT64, ["L"]))
    helper.set_model_props(model, {VOICE_KEY: "heart", BRITISH_KEY: "false"})
    onnx.checker.check_model(model)
    onnx.save(model, out / RESULT)
