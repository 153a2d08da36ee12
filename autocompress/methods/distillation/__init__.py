"""Methods by which a teacher is learnt from."""
