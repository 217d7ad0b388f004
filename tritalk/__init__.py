"""tritalk: a real-time talking digital human on NVIDIA Triton."""

__version__ = "0.1.0"
