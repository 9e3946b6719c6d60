"""Options and recipes of `preflens train`, importable without torch."""
