"""Methods that look at fewer pairs of tokens, or at fewer tokens."""
