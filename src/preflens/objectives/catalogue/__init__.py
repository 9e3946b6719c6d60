"""One objective per file, each with its paper."""
