"""The renderer that draws: an aligned still face and mouth parameters to a face that speaks.

Everything is an exact function of the crop's fixed geometry (`tritalk.face_geometry`): the picture
is warped once by a smooth field (lips part, jaw drops, mouth widens or rounds) and the opening is
painted with teeth, tongue and shade. Lengths are fractions of the crop's side; x grows to the right
from the middle of the face, y downwards from the crop's top. For an adult face, 0.005 of the crop
is about a millimetre.

Fields that depend on x and y are products of a row and a column wherever that is possible, which
keeps a frame to a few milliseconds of one CPU thread.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from export.lipsync import mouth_interior
from tritalk.face_geometry import MOUTH_HALF_WIDTH, MOUTH_Y

# What the drawing may change: the paste mask of face_geometry keeps within it.
_TOP = 0.42
_HALF_WIDTH = 0.40

_GAP_OPEN = 0.070
_GAP_ROUND = 0.012
# Half an opening looks like less than half: the lips hide the first millimetres.
_GAP_CURVE = 0.85
_UPPER_SHARE = 0.20
"""Part of the opening that the upper lip takes; the jaw takes the rest."""

# When an open mouth is closed: how far from the lips' inner edges the picture is not trusted (teeth
# show there, and the corners' shade), in the middle and at the corners, and the line drawn instead.
_TRIM_MIDDLE = 0.004
_TRIM_CORNER = 0.013
_LINE_WIDTH = 0.0045
_LINE_DARKNESS = 0.38

# Where closed lips are searched, from the corners' height up and down; the valley between them is
# compared with what lies so far above and below; and how much its depth counts.
_LINE_SEARCH = 0.055
_VALLEY_HALF_WIDTH = 0.014
_VALLEY_WEIGHT = 50.0


class MouthRenderer(nn.Module):  # type: ignore[misc]
    """Draws a mouth into an aligned face.

    Args:
        size: Side of the crop in pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._top = int(_TOP * size)
        self._left = int((0.5 - _HALF_WIDTH) * size)
        self._right = size - self._left
        centres = (torch.arange(size) + 0.5) / size
        y = centres[self._top :].view(1, -1, 1)
        x = (centres[self._left : self._right] - 0.5).view(1, 1, -1)
        self.register_buffer("y", y)
        self.register_buffer("x", x)
        # Displacements fade to nothing at the border of the region.
        self.register_buffer("side_fade", 1 - ((x.abs() - 0.30) / 0.09).clamp(0, 1))
        self.register_buffer("chin_fade", 1 - _smooth((y - 0.87) / 0.125))
        self.register_buffer("jaw_width", torch.exp(-((x / 0.22) ** 4)))
        self.register_buffer("widen_x", torch.exp(-((x / 0.19) ** 2)) * self.side_fade)
        self.register_buffer("widen_y", torch.exp(-(((y - MOUTH_Y) / 0.11) ** 2)))
        self.lip_line = LipLine(size, self._top, self._left)
        self.interior = mouth_interior.MouthInterior(size, y, x)

    def forward(
        self,
        face: torch.Tensor,
        mouth: torch.Tensor,
        upper: torch.Tensor | None = None,
        lower: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Draw.

        Args:
            face: uint8 `[N, size, size, 3]`, BGR.
            mouth: float32 `[N, 5]`: open, wide, round, press, teeth; 0…1.
            upper: Inner edge of the upper lip in the picture, float32 `[N, 3]`: coefficients of
                1, u, u² of y − `MOUTH_Y`, where u = (x − 0.5) / `MOUTH_HALF_WIDTH`. Left out for a
                closed mouth, whose line is found in the picture.
            lower: The same of the lower lip.

        Returns:
            uint8 `[N, size, size, 3]`, BGR; equal to `face` outside the mouth's region.
        """
        region = face[:, self._top :, self._left : self._right].permute(0, 3, 1, 2)
        picture = region.float() / 255
        if upper is None or lower is None:
            line = self.lip_line(picture)
            drawn = self._draw(picture, mouth, line, line, closing=False)
        else:
            drawn = self._draw(picture, mouth, upper, lower, closing=True)
        pixels = (drawn * 255).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
        rows = face[:, self._top :]
        lower_part = torch.cat([rows[:, :, : self._left], pixels, rows[:, :, self._right :]], 2)
        return torch.cat([face[:, : self._top], lower_part], 1)

    def _draw(
        self,
        picture: torch.Tensor,
        mouth: torch.Tensor,
        upper: torch.Tensor,
        lower: torch.Tensor,
        *,
        closing: bool,
    ) -> torch.Tensor:
        x, y = self.x, self.y
        shape = mouth.clamp(0, 1).view(-1, 5, 1, 1)
        press, rounding = shape[:, 3], shape[:, 2]
        wide = shape[:, 1] * (1 - rounding)
        opening = shape[:, 0] * (1 - 0.85 * press)
        teeth = shape[:, 4] * (1 - rounding)
        parted = opening.clamp(min=1e-6) ** _GAP_CURVE
        gap = _GAP_OPEN * parted + _GAP_ROUND * rounding * (opening / 0.1).clamp(0, 1)

        # Positive: the mouth becomes wider.
        stretch = 0.12 * wide - 0.30 * rounding - 0.10 * opening
        source_x = x / (1 + stretch * self.widen_x * self.widen_y)
        mouth_x = x / (1 + stretch)
        u = (mouth_x / MOUTH_HALF_WIDTH).clamp(-1, 1)
        inside = (mouth_x.abs() < MOUTH_HALF_WIDTH).float()

        # Where the lips' inner edges are in the picture, and where they go.
        from_upper, from_lower = _curve(upper, u), _curve(lower, u)
        open_now = (from_lower - from_upper).clamp(min=0) * inside
        from_lower = from_upper + open_now
        seam = from_upper + 0.3 * open_now
        if closing:
            trim, line = self._closing(mouth_x)
            from_upper, from_lower = from_upper - trim, from_lower + trim
        lens = (1 - (mouth_x / (MOUTH_HALF_WIDTH * 0.97)) ** 2).clamp(min=1e-4)
        profile = lens ** (0.95 - 0.45 * rounding)
        to_upper = seam - _UPPER_SHARE * gap * profile
        to_lower = seam + (1 - _UPPER_SHARE) * gap * profile
        height = to_lower - to_upper

        middle = open_now.shape[2] // 2
        open_middle = open_now[:, :, middle : middle + 1]
        jaw = 0.95 * (gap - 0.7 * open_middle) * self.jaw_width * self.chin_fade
        past_lower = (y - to_lower).clamp(min=0)
        past_upper = (to_upper - y).clamp(min=0)
        shift_lower = jaw + ((to_lower - from_lower) - jaw) * torch.exp(-past_lower / 0.07)
        shift_upper = (to_upper - from_upper) * torch.exp(-past_upper / 0.045)
        thin = (0.35 * press - 0.22 * rounding) * torch.exp(-((mouth_x / MOUTH_HALF_WIDTH) ** 4))
        lower_half = (y > (to_upper + to_lower) / 2).float()
        past = lower_half * past_lower - (1 - lower_half) * past_upper
        shift = lower_half * shift_lower + (1 - lower_half) * shift_upper
        lips = past * thin * torch.exp(-((past / 0.035) ** 2))
        edge = lower_half * to_lower + (1 - lower_half) * to_upper
        source_y = y + (edge + past + lips - shift - y) * self.side_fade

        warped = functional.grid_sample(
            picture,
            self._grid(source_x.expand_as(source_y), source_y),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        if closing:
            warped = warped * (1 - line * torch.exp(-(((y - seam) / _LINE_WIDTH) ** 2)))[:, None]
        interior, alpha = self.interior(
            picture, u=u, upper=to_upper, height=height, gap=gap, teeth=teeth
        )
        return warped + (interior - warped) * alpha

    @staticmethod
    def _closing(mouth_x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How much is cut off each lip, and how dark the line between them is, per column."""
        place = mouth_x.abs() / MOUTH_HALF_WIDTH
        corner = torch.exp(-(((place - 0.97) / 0.20) ** 2))
        middle = _smooth((1.0 - place) / 0.15)
        trim = torch.maximum(_TRIM_MIDDLE * middle, _TRIM_CORNER * corner)
        return trim, _LINE_DARKNESS * _smooth((1.04 - place) / 0.20)

    def _grid(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Crop coordinates to the −1…1 of `grid_sample` on the region."""
        width = (self._right - self._left) / self._size
        height = (self._size - self._top) / self._size
        left, top = self._left / self._size - 0.5, self._top / self._size
        return torch.stack([(x - left) * (2 / width) - 1, (y - top) * (2 / height) - 1], -1)


class LipLine(nn.Module):  # type: ignore[misc]
    """Finds where closed lips meet, as a parabola between the corners.

    The line is a narrow valley: darker than the lips above and below it. A moustache is as dark,
    but wide, and so is no valley.

    Args:
        size: Side of the crop in pixels.
        top: First row of the region that the picture shows.
        left: First column of it.
    """

    def __init__(self, size: int, top: int, left: int) -> None:
        super().__init__()
        rows = (int((MOUTH_Y - _LINE_SEARCH) * size), int((MOUTH_Y + _LINE_SEARCH) * size))
        half = MOUTH_HALF_WIDTH * 0.9
        columns = (int((0.5 - half) * size), int((0.5 + half) * size))
        self._step = max(1, round(_VALLEY_HALF_WIDTH * size))
        self._rows = slice(rows[0] - top - self._step, rows[1] - top + self._step)
        self._columns = slice(columns[0] - left, columns[1] - left)
        self._blur = max(3, size // 32) | 1
        centres = (torch.arange(size) + 0.5) / size
        u = (centres[slice(*columns)] - 0.5) / MOUTH_HALF_WIDTH
        powers = torch.stack([torch.ones_like(u), u, u * u], 1)
        ridge = torch.diag(torch.tensor([0.0, 0.5, 0.5]))
        self.register_buffer("fit", torch.linalg.solve(powers.T @ powers + ridge, powers.T))
        y = centres[slice(*rows)].view(1, -1, 1) - MOUTH_Y
        self.register_buffer("y", y)
        self.register_buffer("prior", -0.5 * (y / 0.03) ** 2)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Coefficients of 1, u, u² of y − `MOUTH_Y`, float32 `[N, 3]`.

        Args:
            picture: The region, float32 `[N, 3, rows, columns]`, 0…1.
        """
        light = picture.mean(1, keepdim=True)
        blurred = functional.avg_pool2d(light, (3, self._blur), 1, (1, self._blur // 2))
        part = blurred[:, 0, self._rows, self._columns]
        around = torch.minimum(part[:, : -2 * self._step], part[:, 2 * self._step :])
        depth = around - part[:, self._step : -self._step]
        contrast = depth.clamp(min=0) / (part.mean((1, 2), keepdim=True) + 0.02)
        weight = torch.softmax(_VALLEY_WEIGHT * contrast + self.prior, 1)
        return (weight * self.y).sum(1) @ self.fit.T


def _curve(coefficients: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    c = coefficients.view(-1, 3, 1, 1)
    return MOUTH_Y + c[:, 0] + c[:, 1] * u + c[:, 2] * u * u


def _smooth(x: torch.Tensor) -> torch.Tensor:
    t = x.clamp(0, 1)
    return t * t * (3 - 2 * t)
