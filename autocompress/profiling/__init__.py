"""Where a model's time and bytes go."""
