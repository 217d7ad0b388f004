"""Mouth parameters of Rhubarb's mouth shapes, and their course over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

PARAMETERS = ("open", "wide", "round", "press", "teeth")
"""What a mouth does, each 0…1: jaw and lips part, corners draw apart, lips round and protrude, lips
press together, teeth are bared."""
