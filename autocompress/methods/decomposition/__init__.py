"""Methods that write matrices as products."""
