"""8 bits of precision, the range of float32."""

from __future__ import annotations

import torch

from autocompress.models.formats.cast import Cast

FORMAT = Cast(torch.bfloat16)
