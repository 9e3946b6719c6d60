"""Parts of `compare`: held-out pairs, first step, rollout, real steps."""
