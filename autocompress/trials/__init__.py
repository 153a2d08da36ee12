"""What is done to one recipe, in whatever process: rehearse, train by stages, lower, measure. It moves data only."""
