"""Where a family of models keeps its parts: one file a family."""
