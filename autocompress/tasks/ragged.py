"""Rows of token-level integers, of unlike length, as one array that processes share: 4 bytes a number.

    <name>.values    int32, all rows one after the other
    <name>.lengths   int32, of each row

Values are mapped, not read: what several processes look at lies in memory once, and may be larger than it.
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
        values = folder / f"{name}.values"
        self._ends: NDArray[np.int64] = np.fromfile(folder / f"{name}.lengths", np.int32).cumsum(dtype=np.int64)
        self._values = np.memmap(values, np.int32, mode="r") if values.stat().st_size else np.zeros(0, np.int32)

    @staticmethod
    def append(folder: Path, name: str, rows: Sequence[Sequence[int]]) -> None:
        """Keep these rows too, behind those that the folder has."""
        for kind, numbers in (("values", [n for row in rows for n in row]), ("lengths", [len(row) for row in rows])):
            with (folder / f"{name}.{kind}").open("ab") as file:
                np.array(numbers, np.int32).tofile(file)

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
