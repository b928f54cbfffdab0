"""Fusion-in-Decoder models."""
