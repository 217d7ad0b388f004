"""Makes tests/data/whisper_reference.json: what the reference implementation hears.

    pip install -e '.[train]'
    python -m export get whisper-base whisper-tiny harvard-phrases a2f-samples
    python -m export.whisper.reference NAME=FOLDER ... --out tests/data/whisper_reference.json

FOLDER holds the files of a checkpoint under the names that `export.whisper` tells.

The same weights go into OpenAI's implementation, which decodes greedily in float32 with its whole
context of 30 s and without timestamps. The recordings are cut in the middle of their pauses: into
pieces as long as possible under 20 s (`whole`), and into all runs of up to three phrases.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import soundfile
import soxr
import torch
import whisper

from export import assets
from export.whisper.checkpoint import Checkpoint
from export.whisper.conversion import read_checkpoint
from tritalk.audio import Samples, from_pcm, to_pcm

_RATE_HZ = 16_000
_PHRASES = 3

# Seconds of the pauses, and the runs of phrases that make the long pieces.
_PAUSES = {
    "a2f-samples/sample-0.wav": [5.75],
    "a2f-samples/sample-1.wav": [
        *(2.22, 5.80, 8.32, 10.97, 15.5),
        *(18.68, 21.57, 25.04, 27.28, 30.64),
    ],
    "harvard-phrases/F1_harvard_phrases.wav": [3.09, 5.96],
    "harvard-phrases/F2_harvard_phrases.wav": [2.78, 5.6],
    "harvard-phrases/M1_harvard_phrases.wav": [2.38, 4.58],
    "harvard-phrases/M2_harvard_phrases.wav": [2.75, 5.15],
}
_LONGEST_S = 20.0


def pieces(pauses: list[float]) -> Iterator[tuple[float, float, bool]]:
    """Begin and end of each piece in seconds, and whether it is as long as it may be."""
    edges = [0.0, *pauses]
    wholes, begin = set(), 0
    while begin < len(pauses):
        end = max(i for i in range(begin + 1, len(edges)) if edges[i] - edges[begin] < _LONGEST_S)
        wholes.add((begin, end))
        begin = end
    runs = {
        (i, j) for i in range(len(pauses)) for j in range(i + 1, min(i + _PHRASES, len(pauses)) + 1)
    }
    for i, j in sorted(runs | wholes):
        yield edges[i], edges[j], (i, j) in wholes


def load(path: Path) -> Samples:
    """A recording at 16 kHz, rounded to what travels on the wire."""
    samples, rate = soundfile.read(path, dtype="float32")
    return from_pcm(to_pcm(soxr.resample(samples, rate, _RATE_HZ)))


def reference_model(checkpoint: Checkpoint) -> whisper.Whisper:
    """OpenAI's model with the weights of a checkpoint."""
    sizes = checkpoint.dimensions
    model = whisper.Whisper(
        whisper.ModelDimensions(
            n_mels=sizes.mels,
            n_audio_ctx=sizes.audio_context,
            n_audio_state=sizes.state,
            n_audio_head=sizes.heads,
            n_audio_layer=sizes.audio_layers,
            n_vocab=sizes.vocabulary,
            n_text_ctx=sizes.text_context,
            n_text_state=sizes.state,
            n_text_head=sizes.heads,
            n_text_layer=sizes.text_layers,
        )
    )
    model.load_state_dict({name: torch.tensor(checkpoint[name]) for name in checkpoint.tensors})
    return model.eval()


def transcribe(model: whisper.Whisper, samples: Samples) -> str:
    """The greedy text of one piece of English."""
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples))
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    text: str = whisper.decode(model, mel, options).text
    return text


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    models = {}
    for checkpoint in arguments.checkpoints:
        name, folder = checkpoint.split("=", 1)
        files = {path.name: path for path in Path(folder).iterdir()}
        models[name] = reference_model(read_checkpoint(files)[0])
    found = []
    for recording, pauses in _PAUSES.items():
        asset, file_name = recording.split("/")
        samples = load(assets.path(asset) / file_name)
        for begin_s, end_s, whole in pieces(pauses):
            piece = samples[round(begin_s * _RATE_HZ) : round(end_s * _RATE_HZ)]
            texts = {name: transcribe(model, piece) for name, model in models.items()}
            where = {"recording": recording, "begin_s": begin_s, "end_s": end_s, "whole": whole}
            found.append({**where, "texts": texts})
            print(where, texts, flush=True)
    example = samples[: 2 * _RATE_HZ]
    mel = whisper.log_mel_spectrogram(example, padding=_RATE_HZ).numpy()[:, :300]
    result = {
        "implementation": f"openai-whisper {whisper.__version__}, torch {torch.__version__}",
        "log_mel": {
            "recording": recording,
            "seconds": 2,
            "padding_s": 1,
            "band_means": mel.mean(axis=1).tolist(),
            "frame_means": mel.mean(axis=0).tolist(),
        },
        "pieces": found,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
