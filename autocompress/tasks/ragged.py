"""Rows of token-level integers, of unlike length, as one array that processes share: 4 bytes a number.

    <name>.values.npy   int32, all rows one after the other
    <name>.ends.npy     int64, where each row ends

They are mapped, not read: what several processes look at lies in memory once, and may be larger than it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Ragged(Sequence[list[int]]):
    """N rows that lie in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._values = np.load(folder / f"{name}.values.npy", mmap_mode="r")
        self._ends: NDArray[np.int64] = np.load(folder / f"{name}.ends.npy", mmap_mode="r")

    @staticmethod
    def write(folder: Path, name: str, rows: Sequence[Sequence[int]]) -> None:
        """Keep `rows` in a folder."""
        ends_N = np.cumsum(np.fromiter((len(row) for row in rows), np.int64, len(rows)), dtype=np.int64)
        flat = (number for row in rows for number in row)
        np.save(folder / f"{name}.values.npy", np.fromiter(flat, np.int32, int(ends_N[-1]) if len(rows) else 0))
        np.save(folder / f"{name}.ends.npy", ends_N)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, row: int) -> list[int]: ...
    @overload
    def __getitem__(self, row: slice) -> list[list[int]]: ...
    def __getitem__(self, row: int | slice) -> list[int] | list[list[int]]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        at = range(len(self))[row]
        found: list[int] = self._values[self._ends[at - 1] if at else 0 : self._ends[at]].tolist()
        return found

    def __iter__(self) -> Iterator[list[int]]:
        return (self[row] for row in range(len(self)))
