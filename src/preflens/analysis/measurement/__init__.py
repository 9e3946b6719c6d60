"""What a model is asked: log-probs, Grams and real steps of update batches."""
