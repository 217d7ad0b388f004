"""Errors of models."""

from __future__ import annotations


class OnnxModelError(ValueError):
    """A model cannot be served; the message says what is wrong with its file or configuration."""
