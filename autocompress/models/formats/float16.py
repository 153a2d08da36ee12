"""11 bits of precision, numbers up to 65504."""

from __future__ import annotations

import torch

from autocompress.models.formats.cast import Cast

FORMAT = Cast(torch.float16)
