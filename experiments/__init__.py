"""Experiments that stay out of the wheel."""
