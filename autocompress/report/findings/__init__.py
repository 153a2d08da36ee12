"""What a report shows, worked out of a study as plain data: nothing is drawn here, and no torch is loaded."""
