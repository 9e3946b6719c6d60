"""The parts of `preflens compare`: held-out pairs, the first step, the rollout, real steps."""
