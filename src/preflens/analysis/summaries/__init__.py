"""From numbers of pairs to tables, means with intervals, and provenance."""
