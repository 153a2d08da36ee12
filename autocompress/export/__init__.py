"""What leaves a study as a folder."""
