"""Train the default lip-sync generator and write its ONNX files.

python -m export.lipsync.train CORPUS --output export/lipsync
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from export.lipsync import shapes, to_onnx
from export.lipsync.network import MouthNetwork
from tritalk import mel

# A window begins one frame before its frame, and on a whole column at or before that moment (0.4
# columns early on average at 25 fps); the network is asked for the middle of the frame's time.
_FRAME_S = 1 / 25
_TARGET_S = 1.5 * _FRAME_S + 0.4 / mel.COLUMNS_PER_SECOND

_WINDOW_STEP = 2
_BATCH = 512
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
# Openness is what is seen most; teeth matter least.
_LOSS_WEIGHTS = (3.0, 1.0, 1.5, 1.5, 0.5)
_HELD_OUT = 10
"""Every tenth clip of a voice is kept for validation."""

_MEL_PER_DB = 8 / 100
# Clips peak at −3 dB; the level in use may be anything from −26 to 0 dB.
_LEVEL_DB = (-23.0, 3.0)
_VOCAL_TRACT = (0.84, 1.2)
_TILT = 0.35
_NOISE_FLOOR = (-4.5, -1.2)
_NOISE = 0.3

_MOST_GAIN = 1.6
_RESTING = 0.02


@dataclass(frozen=True)
class Examples:
    """Windows and what the mouth does at them."""

    windows: torch.Tensor
    """float32 `[n, 1, 80, 16]`."""
    mouths: torch.Tensor
    """float32 `[n, 5]`."""


def main() -> None:
    """Train, report on held-out clips, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder made by export.lipsync.corpus")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # One thread, so that sums are always taken in the same order.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)

    training, validation = load(options.corpus)
    print(f"{len(training.windows)} windows to train on, {len(validation.windows)} held out")
    network = MouthNetwork(options.channels)
    fit(network, training, epochs=options.epochs)
    correlations = evaluate(network, validation)
    stretch = to_onnx.Stretch(*calibrate(network, validation))
    to_onnx.export_generator(network, stretch, options.output / "generator.onnx")
    to_onnx.export_mouth_closer(options.output / "mouth_closer.onnx")
    record = {
        "seed": options.seed,
        "epochs": options.epochs,
        "windows": len(training.windows),
        "parameters": sum(p.numel() for p in network.parameters()),
        "held_out_correlation": correlations,
        "gain": dict(zip(shapes.PARAMETERS, np.round(stretch.gain, 4).tolist(), strict=True)),
        "bias": dict(zip(shapes.PARAMETERS, np.round(stretch.bias, 4).tolist(), strict=True)),
    }
    (options.output / "generator.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def load(corpus: Path) -> tuple[Examples, Examples]:
    """Training and held-out examples of a corpus.

    Raises:
        FileNotFoundError: The folder has no clips.
    """
    paths = sorted(corpus.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{corpus}: no clips; make them with export.lipsync.corpus")
    held_out = [path for k, path in enumerate(paths) if k % _HELD_OUT == _HELD_OUT // 2]
    training = [path for path in paths if path not in held_out]
    return _examples(training), _examples(held_out)


def _examples(paths: list[Path]) -> Examples:
    windows, mouths = [], []
    for path in paths:
        clip = np.load(path)
        spectrogram = mel.mel_spectrogram(clip["samples"])
        first = np.arange(0, spectrogram.shape[1] - mel.WINDOW_COLUMNS, _WINDOW_STEP)
        columns = first[:, None] + np.arange(mel.WINDOW_COLUMNS)
        windows.append(spectrogram[:, columns].transpose(1, 0, 2))
        mouths.append(shapes.at(clip["track"], first / mel.COLUMNS_PER_SECOND + _TARGET_S))
    return Examples(
        torch.from_numpy(np.concatenate(windows)).unsqueeze(1),
        torch.from_numpy(np.concatenate(mouths)),
    )


def fit(network: MouthNetwork, training: Examples, *, epochs: int) -> None:
    """Train a network in place."""
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    batches = len(training.windows) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, epochs * batches)
    weights = torch.tensor(_LOSS_WEIGHTS)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(training.windows))
        total = 0.0
        for batch in order[: batches * _BATCH].view(batches, _BATCH):
            error = network(augmented(training.windows[batch])) - training.mouths[batch]
            loss = (error**2 * weights).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / batches:.4f}", flush=True)
    network.eval()


def augmented(windows: torch.Tensor) -> torch.Tensor:
    """The same speech of other throats, microphones, rooms and levels."""
    count = len(windows)
    factor = torch.empty(count, 1).uniform_(*_VOCAL_TRACT)
    bands = (torch.linspace(-1, 1, mel.BANDS) + 1) * factor - 1
    columns = torch.linspace(-1, 1, mel.WINDOW_COLUMNS)
    size = (count, mel.BANDS, mel.WINDOW_COLUMNS)
    grid = torch.stack([columns.expand(size), bands[:, :, None].expand(size)], -1)
    warped = functional.grid_sample(windows, grid, padding_mode="border", align_corners=True)
    tilt = torch.randn(count, 1, 1, 1) * _TILT * torch.linspace(-1, 1, mel.BANDS)[:, None]
    level = torch.empty(count, 1, 1, 1).uniform_(*_LEVEL_DB) * _MEL_PER_DB
    floor = torch.empty(count, 1, 1, 1).uniform_(*_NOISE_FLOOR) + _NOISE * torch.randn(
        windows.shape
    )
    return (torch.maximum(warped + tilt, floor) + level).clamp(-4, 4)


def predict(network: MouthNetwork, windows: torch.Tensor) -> torch.Tensor:
    """Parameters of many windows, a batch at a time."""
    with torch.no_grad():
        return torch.cat([network(part) for part in windows.split(4096)])


def evaluate(network: MouthNetwork, examples: Examples) -> dict[str, float]:
    """Correlation of each parameter with Rhubarb's."""
    said = predict(network, examples.windows).numpy()
    pairs = zip(shapes.PARAMETERS, said.T, examples.mouths.numpy().T, strict=True)
    return {name: round(float(np.corrcoef(a, b)[0, 1]), 3) for name, a, b in pairs}


def calibrate(network: MouthNetwork, examples: Examples) -> tuple[list[float], list[float]]:
    """Gain and bias per parameter that undo a regression's pull to the mean.

    They give what the network says the mean and the spread of what was asked of it, and bring what
    it says of a resting mouth to 0 at most.
    """
    said, asked = predict(network, examples.windows), examples.mouths
    gain = (asked.std(0) / said.std(0)).clamp(1.0, _MOST_GAIN)
    bias = asked.mean(0) - gain * said.mean(0)
    resting = said[asked.amax(1) < _RESTING].median(0).values
    return gain.tolist(), torch.minimum(bias, -gain * resting).tolist()


if __name__ == "__main__":
    main()
