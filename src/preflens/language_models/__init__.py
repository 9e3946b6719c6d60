"""The only layer that knows transformers, peft and datasets: rows to pairs to token ids to log-probs."""
