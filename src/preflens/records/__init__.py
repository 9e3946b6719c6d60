"""Results of the commands as plain records, saved as JSON and Parquet. No torch."""
