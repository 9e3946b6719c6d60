"""Kinds of mitigations: maps of coefficients, weights of tokens, updates of a batch."""
