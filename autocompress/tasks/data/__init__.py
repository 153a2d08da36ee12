"""How rows get in: files, folders and data sets, read whole or refused."""
