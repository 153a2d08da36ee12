"""The search: ask, dispatch, judge, remember, choose. Loads no torch."""
