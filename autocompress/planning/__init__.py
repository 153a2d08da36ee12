"""Before a study: what an installation lacks, what a search will take, a first space for a model and its data.

Everything here measures on this machine and trains nothing for longer than some steps. `study.py` does not know it.
"""
