"""From a module to an artefact to its figures: lower, open, simulate, time, weigh. One folder a runtime."""
