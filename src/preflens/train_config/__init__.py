"""Options and recipes of `preflens train`, without torch."""
