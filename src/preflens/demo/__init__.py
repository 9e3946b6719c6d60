"""A small preference-tuning run on generated data: no network, no GPU, a few minutes."""
