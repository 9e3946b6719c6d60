"""What the benchmarks have in common: models, baselines, clocks."""
