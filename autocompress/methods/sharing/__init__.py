"""Methods by which several parts of a model use the same weights."""
