"""Models that write texts on: what they remember of the tokens before, and how both their runs are called."""
