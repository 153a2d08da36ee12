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


class Served(PythonModel):
    """Texts in, one answer a row out: of a classifier a `label` and its probability, `score`.

    One that continues texts takes the parameter `max_new_tokens`.
    """

    def load_context(self, context: PythonModelContext) -> None:
        self._ask = autocompress.pipeline(context.artifacts["exported"])

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """N rows of one column of texts, or two for pairs: the model's signature names them."""
        columns = {name: model_input[name].tolist() for name in self._ask.serving.columns}
        for name, texts in columns.items():
            if wrong := [text for text in texts if not isinstance(text, str)]:  # MLflow lets null and NaN through
                raise MlflowException.invalid_parameter_value(f"{name}: every row should be a text. Got {wrong[0]!r}.")
        rows = list(zip(*columns.values(), strict=True))
        kind = self._ask.kind
        options = {name: int(count) for name, count in (params or {}).items()} if kind.continues else {}
        answers = self._ask([row[0] if len(row) == 1 else row for row in rows], **options)
        return pd.DataFrame([kind.told(answer) for answer in answers], columns=[*kind.columns_of_answers])


set_model(Served())
