"""What a command found, as plain records: saved as JSON and Parquet, free of torch."""
