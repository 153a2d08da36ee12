"""Torch itself, with products in 8 bits of its own."""
