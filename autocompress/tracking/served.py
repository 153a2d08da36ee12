"""The code of a registered model: MLflow copies this file beside the exported folder and runs it to serve it.

It is models-from-code, so nothing is pickled: https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

import autocompress

ANSWER = ["label", "score"]


class Served(PythonModel):
    """Texts in, one `label` and its probability `score` a row out."""

    def load_context(self, context: PythonModelContext) -> None:
        self._classify = autocompress.pipeline(context.artifacts["exported"])

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """N rows of one column of texts, or two for pairs: the model's signature names them."""
        columns = {name: model_input[name].tolist() for name in self._classify.serving.columns}
        for name, texts in columns.items():
            if wrong := [text for text in texts if not isinstance(text, str)]:  # MLflow lets null and NaN through
                raise MlflowException.invalid_parameter_value(f"{name}: every row should be a text. Got {wrong[0]!r}.")
        rows = list(zip(*columns.values(), strict=True))
        return pd.DataFrame(self._classify([row[0] if len(row) == 1 else row for row in rows]), columns=ANSWER)


set_model(Served())
