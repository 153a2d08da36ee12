"""What a model is: loaded, changed, saved, and rounded as a runtime would."""
