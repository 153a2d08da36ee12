"""What may be asked for, as pure data: the interface of methods, recipes, targets, goals, and keys of what is kept."""
