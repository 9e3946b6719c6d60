"""Readers of a backward pass: what is computed from the factors of each module."""
