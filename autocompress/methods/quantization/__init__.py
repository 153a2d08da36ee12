"""Methods that choose number formats."""
