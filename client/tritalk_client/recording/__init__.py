"""A conversation as one MP4: both voices and the portrait; needs the extra `record` (PyAV)."""

from tritalk_client.recording.recorder import Recorder

__all__ = ["Recorder"]
