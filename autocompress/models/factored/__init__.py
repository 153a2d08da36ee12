"""Matrices that are kept as something smaller: layers, embedding tables, trains of tensors."""
