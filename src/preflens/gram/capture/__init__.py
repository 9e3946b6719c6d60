"""Hooks on modules, forward passes and autograd: where the factors come from."""
