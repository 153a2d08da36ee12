"""Search, look, choose, ask: cell by cell, as in a notebook (editors run `# %%` cells one at a time).

python examples/compare_and_choose.py                  # the quickstart's space, about 6 minutes on 2 cores
python examples/compare_and_choose.py my_space.yaml
"""

# %% Search. On a study that exists this goes on where it stopped; done once, it returns at once.
import sys

import autocompress

space = sys.argv[1] if len(sys.argv) > 1 else "search_spaces/quickstart.yaml"
study = autocompress.search(space)
print(study)  # in a notebook `study` alone shows its front as a table

# %% What was tried: a row a recipe, with scores, latencies, sizes, seconds.
trials = study.to_dataframe()
print(trials[["title", "score", "latency_ms", "size_mb", "front"]].sort_values("latency_ms").to_string())

# %% Which knobs decide, and where the front lies. In a notebook a figure shows itself; here they become pages.
study.plot_front().write_html("front.html")
study.plot_importance().write_html("importance.html")

# %% Choose by another rule than the space's, and export it: the folder needs no study, and no torch to serve.
fastest = study.best("fastest")
baseline = study.baseline
print(f"{fastest.label}: {baseline.measurement['latency_ms'] / fastest.measurement['latency_ms']:.1f} times as fast")
folder = study.export("exported/fastest", rule="fastest")

# %% Ask it.
classify = autocompress.pipeline(folder)
for answer in classify(["reads a table from a file", "draws a random sample"]):
    print(answer)
