"""A preference-tuning run in miniature, made on the spot: no network, no GPU, a few minutes."""
