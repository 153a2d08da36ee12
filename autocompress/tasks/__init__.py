"""What a model is for: its texts and labels, how they become batches, and how answers are scored."""
