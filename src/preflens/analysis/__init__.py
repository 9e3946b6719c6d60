"""`analyze` and `compare`, and what they share: measurement of a model, summaries, comparison of objectives."""
