"""Mitigations inside a training step."""
