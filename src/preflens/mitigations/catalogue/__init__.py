"""One mitigation per file, each with its paper."""
