"""One self-contained HTML page from a saved analysis; loads neither torch nor transformers."""
