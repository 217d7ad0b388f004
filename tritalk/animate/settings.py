"""Settings of the `animate` model."""

from __future__ import annotations

from pydantic import Field

from tritalk.settings import Settings


class AnimateSettings(Settings):
    """`parameters` of model_repository/animate/config.pbtxt."""

    store_url: str = ""
    """Where avatars are kept, the same as the `avatar` model's; empty is the state folder."""
    cached_avatars: int = Field(default=8, ge=1, le=1024)
    """Portraits kept in memory."""
    step_frames: int = Field(default=5, ge=1, le=25)
    """Frames of one call of the generator, and of the first fragment."""
    longest_fragment_frames: int = Field(default=25, ge=1, le=250)
    """Frames of the longest fragment."""
    generator_timeout_s: float = Field(default=10.0, gt=0)
    """Longest wait for the mouths of one step."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """A turn that gets no request for so long ends; the sequence batcher's own time-out."""
    mouth_cache_mib: int = Field(default=64, ge=0)
    """Memory for mouths that were drawn before, in MiB; a second of speech takes 5, 0 keeps
    none."""
    max_piece_s: float = Field(default=600.0, gt=0, le=3600)
    """Longest speech of one request, in seconds."""
    queued_pieces: int = Field(default=64, ge=1, le=4096)
    """Requests of one turn that may wait while another is animated."""
    queued_s: float = Field(default=900.0, gt=0, le=36_000)
    """Speech of one turn that may wait while another request is animated, in seconds; a single
    request may wait whatever its length."""
    turns: int = Field(default=64, ge=1, le=4096)
    """Turns that are open at the same time; Triton's own bound forgets a turn at its END, when its
    work may have hardly begun."""
