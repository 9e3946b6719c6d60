"""Inner products of per-response gradients that are kept as factors: within pairs, and of all with all."""
