"""Methods that take parts away."""
