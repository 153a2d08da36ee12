"""The LSTM and GRU classifiers of our own: layers of matrices that are in neither attentions nor feed-forwards."""

from __future__ import annotations

from autocompress.models.families.anatomy import Family

FAMILY = Family(
    model_types=("autocompress_lstm", "autocompress_gru"),
    stacks={"layers": "num_hidden_layers"},
    attentions=(),
    ffns=(),
    ffn_width="",
    head_size="",
    counters={},
    products=("forward_input", "forward_state", "backward_input", "backward_state"),
)
