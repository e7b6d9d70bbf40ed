"""Legato: plain Python functions, tied into workflows that keep going when the world does not."""

__version__ = "0.1.0.dev0"
