"""The hypervolume of a front: how much of the objective space it beats, up to a reference point.

HV(P, r) is the volume of the union of the boxes [p, r] over p in P, all objectives minimized. It is cut into slabs
along the last objective: between two neighbouring values of it, the cross-section is the hypervolume, one dimension
lower, of the points that lie below (While et al. 2006, "A faster algorithm for calculating hypervolume"). Exact, and
quick enough for the fronts of a study: O(n²) for three objectives.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

Point = tuple[float, ...]


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """The volume between `points` and `reference`, every coordinate minimized. Points outside count for nothing."""
    inside = [p for p in set(points) if all(a < r for a, r in zip(p, reference, strict=True))]
    return _volume(inside, reference)


def _volume(points: list[Point], reference: Point) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(points)[0]
    if len(reference) == 2:
        return _area(sorted(points), reference)
    points = sorted(points, key=lambda p: p[-1])
    ends = [p[-1] for p in points[1:]] + [reference[-1]]
    below: list[Point] = []
    total = 0.0
    for point, end in zip(points, ends, strict=True):
        insort(below, point[:-1])
        if end > point[-1]:
            total += (end - point[-1]) * _volume(below, reference[:-1])
    return total


def _area(points: list[Point], reference: Point) -> float:
    """Of a staircase whose points come in the order of their first coordinate."""
    total, floor = 0.0, reference[1]
    for x, y in points:
        if y < floor:
            total += (reference[0] - x) * (floor - y)
            floor = y
    return total
