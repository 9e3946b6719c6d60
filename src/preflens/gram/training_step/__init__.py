"""Per-response gradients read off a training step's own backward pass."""
