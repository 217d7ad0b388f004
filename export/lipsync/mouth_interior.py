"""What is seen between parted lips: upper and lower teeth, the tongue, and shade."""

from __future__ import annotations

import torch
from torch import nn

# Widths of the upper teeth from the middle outwards (central and lateral incisor, canine, two
# premolars), in fractions of the crop, and how far each reaches down against the longest.
_TOOTH_WIDTHS = (0.040, 0.031, 0.034, 0.030, 0.030)
_TOOTH_LENGTHS = (1.0, 0.88, 0.95, 0.85, 0.8)
_UPPER_TOOTH = 0.020
_LOWER_TOOTH = 0.010

_TOOTH_BGR = (0.66, 0.76, 0.80)
_CAVITY_BGR = (0.075, 0.065, 0.17)
_TONGUE_BGR = (0.30, 0.27, 0.52)

# Skin of this brightness and tint is lit so that the colours above are right. Part of another tint
# is the light's and falls on the teeth too; the rest is the skin's own.
_SKIN_LIGHT = 0.55
_SKIN_TINT_BGR = (0.80, 0.95, 1.25)
_TINT_OF_LIGHT = 0.5


class MouthInterior(nn.Module):  # type: ignore[misc]
    """Paints the opening of a mouth.

    Args:
        size: Side of the crop in pixels.
        y: Rows of the region, float32 `[1, rows, 1]`, in fractions of the crop.
        x: Columns of the region, float32 `[1, 1, columns]`, from the middle of the face.
    """

    def __init__(self, size: int, y: torch.Tensor, x: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("y", y)
        self._edge = 0.7 / size
        length, seam = _dental_arch(x)
        self.register_buffer("tooth_length", length)
        self.register_buffer("tooth_light", 1 - 0.22 * seam)
        for name, colour in (
            ("tooth", _TOOTH_BGR),
            ("cavity", _CAVITY_BGR),
            ("tongue", _TONGUE_BGR),
        ):
            self.register_buffer(name, torch.tensor(colour).view(1, 3, 1, 1))
        self.register_buffer("skin_tint", torch.tensor(_SKIN_TINT_BGR))
        # Both cheeks beside the nose: skin that beards, lips and hair leave free.
        self._cheek_rows = slice(int(0.05 * size), int(0.13 * size))
        middle, reach = x.shape[2] // 2, (int(0.13 * size), int(0.20 * size))
        self._cheeks = (
            slice(middle - reach[1], middle - reach[0]),
            slice(middle + reach[0], middle + reach[1]),
        )

    def forward(
        self,
        picture: torch.Tensor,
        *,
        u: torch.Tensor,
        upper: torch.Tensor,
        height: torch.Tensor,
        gap: torch.Tensor,
        teeth: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The painted opening and where it shows.

        Args:
            picture: The region of the still face, float32 `[N, 3, rows, columns]`, 0…1.
            u: Place across the mouth, −1…1 from corner to corner, `[N, 1, columns]`.
            upper: y of the upper lip's inner edge, `[N, 1, columns]`.
            height: Opening of each column, `[N, 1, columns]`.
            gap: Opening in the middle, `[N, 1, 1]`.
            teeth: How much the lips bare the teeth, 0…1, `[N, 1, 1]`.

        Returns:
            float32 `[N, 3, rows, columns]`, 0…1, and its opacity `[N, 1, rows, columns]`.
        """
        below = self.y - upper
        above_lower = height - below
        depth = (below / height.clamp(min=1e-3)).clamp(0, 1)
        across = u * u

        dark = self.cavity * (0.6 + 0.5 * depth)[:, None]
        tongue = _smooth((depth - 0.55) / 0.35) * (1 - across) * ((gap - 0.022) / 0.03).clamp(0, 1)
        colour = dark + (self.tongue - dark) * (0.75 * tongue)[:, None]

        shade = (1 - 0.5 * across) * self.tooth_light
        # A slit shows no teeth: a strip of even white would look like a mouthguard.
        bared = _smooth((height - 0.008) / 0.020)
        low_reach = torch.minimum(0.16 * height, torch.full_like(height, _LOWER_TOOTH))
        low = self._band(low_reach - above_lower) * bared * (0.15 + 0.45 * teeth) * (1 - across)
        low_light = 0.62 * shade * (0.6 + 0.4 * (above_lower / 0.008).clamp(0, 1))
        colour = colour + (self.tooth * low_light[:, None] - colour) * low[:, None]

        reach = torch.minimum((0.32 + 0.2 * teeth) * height, _UPPER_TOOTH * self.tooth_length)
        shown = self._band(reach - below) * bared * (0.75 + 0.25 * teeth) * (1 - across**3)
        # Lips that are hardly open keep the light out.
        lit = shade * (0.70 + 0.30 * _smooth((height - 0.010) / 0.025))
        light = lit * (0.62 + 0.38 * (below / 0.010).clamp(0, 1))
        colour = colour + (self.tooth * light[:, None] - colour) * shown[:, None]

        opacity = torch.sigmoid(below / self._edge) * torch.sigmoid(above_lower / self._edge)
        opacity = opacity * _smooth((height - 0.001) / 0.007)
        return (colour * self._light(picture)).clamp(0, 1), opacity[:, None]

    def _band(self, distance: torch.Tensor) -> torch.Tensor:
        """1 where a tooth's edge is not reached yet, with an edge a few pixels soft."""
        return (distance / (4 * self._edge) + 0.5).clamp(0, 1)

    def _light(self, picture: torch.Tensor) -> torch.Tensor:
        rows = picture[:, :, self._cheek_rows]
        cheeks = torch.stack([rows[:, :, :, part].mean((2, 3)) for part in self._cheeks]).mean(0)
        brightness = cheeks.mean(1, keepdim=True)
        tint = (cheeks + 0.02) / (brightness + 0.02) / self.skin_tint
        colour = (brightness / _SKIN_LIGHT).clamp(0.3, 1.25) * tint.clamp(
            0.6, 1.6
        ) ** _TINT_OF_LIGHT
        return colour[:, :, None, None]


def _dental_arch(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Relative length of the tooth at each column, and how dark the seam between two teeth is."""
    away = x.abs()
    length = torch.full_like(away, _TOOTH_LENGTHS[-1])
    seam = torch.exp(-((away / 0.0022) ** 2)) * 0.8
    start = 0.0
    for width, reach in zip(_TOOTH_WIDTHS, _TOOTH_LENGTHS, strict=True):
        place = (away - start - width / 2) / (width / 2)
        inside = place.abs() <= 1
        # The biting edge is a little rounded towards the neighbours.
        length = torch.where(inside, reach * (1 - 0.14 * place.clamp(-1, 1) ** 4), length)
        start += width
        seam = seam + torch.exp(-(((away - start) / 0.0022) ** 2))
    return length, seam.clamp(max=1)


def _smooth(x: torch.Tensor) -> torch.Tensor:
    t = x.clamp(0, 1)
    return t * t * (3 - 2 * t)
