"""Factors of per-response gradients: inputs and output gradients of modules, and how they are laid out and stored."""
