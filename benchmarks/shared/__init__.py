"""Models, baselines and clocks of all benchmarks."""
