"""What people see of a study: the live display, tables, a parquet file, the cards of methods."""
