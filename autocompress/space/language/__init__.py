"""The YAML language that says a search space: read, checked and written down."""
