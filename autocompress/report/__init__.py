"""What people see of a study: the terminal (a folder of its own), tables, a parquet file, the cards of methods."""
