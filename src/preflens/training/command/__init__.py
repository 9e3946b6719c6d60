"""`preflens train`: configuration, data, launch, and the run itself."""
