"""The catalogue: one file a method, one folder a family; and what all of them share."""
