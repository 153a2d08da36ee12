"""Whether a folder may be opened: looked at before anything in it is."""
