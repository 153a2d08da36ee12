"""Which methods of a space cannot act on its model at all, whatever their knobs: asked before anything is trained.

A method is asked alone, on the model as it is, as a rehearsal: with its knobs in the middle of what the space lets them
be, then with each at every end, then with all at their lowest and their highest. One setting that acts is enough.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from autocompress.errors import ConfigError, NotApplicable, Paused
from autocompress.space.anchors import middle
from autocompress.space.distributions import Choice, Distribution, Range
from autocompress.space.language.steps import OpenMethod, every_method
from autocompress.space.method import Method, find
from autocompress.space.recipe import Recipe
from autocompress.trials.bench import Bench
from autocompress.trials.stages import apply


def not_applicable(bench: Bench) -> dict[str, str]:
    """Why, by where the method stands in the space: `0.layers`."""
    every = list(every_method(bench.space.steps))
    if any(find(each.name).stage == "student" for each in every):  # what follows one acts on another model
        return {}
    trainer = next((find(each.name)() for each in every if find(each.name).trains), None)
    asked = [each for each in every if not find(each.name).trains]
    return {each.at: reason for each in asked if (reason := _refusal(bench, each, trainer))}


def _refusal(bench: Bench, asked: OpenMethod, trainer: Method | None) -> str:
    """What the method says of the model with every setting; nothing, if it acts with one."""
    first = ""
    for method in settings(asked):
        ctx = bench.context(seed=0, rehearsal=True)
        # what is pending speaks up once there is a training
        recipe = Recipe([method, trainer] if method.pending and trainer else [method])
        try:
            apply(bench, copy.deepcopy(bench.start), ctx, recipe)
            bench.runtime.support(ctx.precision, bench.target)
        except NotApplicable as error:
            first = first or str(error)
        except (ConfigError, Paused):
            raise
        except Exception:  # a failure says nothing of the model as such: the recipes that meet it report it
            return ""
        else:
            return ""
    return first


def settings(asked: OpenMethod) -> Iterator[Method]:
    """The method with its knobs in the middle, then at their ends; none twice."""
    cls = find(asked.name)
    usual = {name: middle(d, cls.model_fields[name].default) for name, d in asked.knobs.items()}
    ends = {name: _ends(d) for name, d in asked.knobs.items()}
    single = [{name: end} for name, some in ends.items() for end in some]
    corners = [{name: some[i] for name, some in ends.items() if some} for i in (0, -1)]
    yield from dict.fromkeys(cls(**usual | changed) for changed in ({}, *single, *corners))


def _ends(distribution: Distribution) -> tuple[object, ...]:
    match distribution:
        case Range(low, high):
            return low, high
        case Choice(values):
            return tuple(values)
    return ()
