"""One self-contained HTML page for an analysis or a comparison, rendered without torch and transformers."""
