"""The memory and the proposals of a search: Optuna's."""
