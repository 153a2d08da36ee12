"""Findings drawn by Plotly, one file a figure: what `study.plot_front()` returns is what the report shows."""
