"""The parts of the page, each from the findings to HTML."""

from __future__ import annotations

from itertools import combinations

from autocompress.report.figures import attribution, course, finalists, front, importance, parallel, progress
from autocompress.report.findings import steps
from autocompress.report.findings.gather import Findings
from autocompress.report.findings.quantities import called, figure, told
from autocompress.report.page.html import beside, chart, code, paragraph, section, table, tile, tiles
from autocompress.report.tables import FRONT_COLUMNS, footnote, front_rows, means_note
from autocompress.space.language.yaml_lines import to_yaml


def summary(findings: Findings) -> str:
    """The chosen model beside the baseline, at a glance."""
    winner, b = findings.winner, findings.baseline.measurement
    if winner is None:
        return "".join(paragraph(line) for line in ("Nothing was chosen.", *findings.advice.splitlines()))
    m = findings.known[winner.number]
    seeds = f"mean of {m['seeds']:.0f} seeds" if "seeds" in m else "one seed"
    each = [
        tile("score", f"{m['score']:.3f}", f"baseline {b['score']:.3f}", f"{_interval(m, 'score', '.3f')} ({seeds})")
    ]
    if "speedup" in m:
        each.append(tile("latency", f"{m['speedup']:.2f}x faster", _change(m, b, "latency_ms"),
                         _interval(m, "speedup", ".2f", "x")))  # fmt: skip
    each.append(tile("size", f"{b['size_mb'] / m['size_mb']:.2f}x smaller", _change(m, b, "size_mb")))
    charged = sum(t.charged for t in findings.trials)
    each.append(tile("search", f"{charged} trained", f"{len(findings.trials)} recipes tried",
                     f"{len(findings.front)} on the front"))  # fmt: skip
    said = f"Chosen by {findings.rule}: t{winner.number:03d}, {findings.names[winner.number]}."
    broken = f" It breaks {'; '.join(findings.broken)}." if findings.broken else ""
    return paragraph(said + broken) + tiles(*each)


def _change(m: dict[str, float], b: dict[str, float], name: str) -> str:
    return f"{figure(name, m[name])}, baseline {figure(name, b[name])}"


def _interval(m: dict[str, float], name: str, form: str, unit: str = "") -> str:
    low, high = (m.get(f"{name}_{end}") for end in ("low", "high"))
    return "" if low is None or high is None else f"95 %: {low:{form}} to {high:{form}}{unit}"


def the_front(findings: Findings) -> str:
    """The front, drawn and as a table."""
    limits = ", ".join(c.text for c in findings.goals.constraints)
    shown = findings.front
    chosen = [f"t{findings.winner.number:03d}"] if findings.winner else []
    return section(
        "front", "The front",
        paragraph("Up and to the left is better; a marker's area shows the model's size. Point at one for its recipe. "
                  + (f"The limits: {limits}." if limits else "There are no limits.")),
        chart(front.front(findings), "front"),
        table(FRONT_COLUMNS, front_rows(findings.baseline, shown), chosen),
        paragraph(" ".join(filter(None, [means_note(shown), footnote(shown)])), soft=True),
    )  # fmt: skip


def the_winner(findings: Findings) -> str:
    """The recipe, and what each of its steps gives."""
    if (winner := findings.winner) is None:
        return ""
    walked = steps.walked(findings)
    quantities = [name for name in steps.QUANTITIES if name in winner.measurement]
    rows = [(" + ".join(s.names), *(figure(q, s.measurement[q]) for q in quantities)) for s in walked if s.measurement]
    return section(
        "recipe", "The chosen recipe, step by step",
        paragraph("The recipe carried out step by step, measured after each. Before the training that follows a cut "
                  "the score is that of the cut model as it is. The figures are those of one seed."
                  + " Its steps begin from the checkpoint, not from the baseline." * findings.pretrained),
        chart(attribution.attribution(findings), "attribution"),
        table(("after", *(called(q) for q in quantities)), rows),
        paragraph(_unmeasured(findings), soft=True),
        "<h3>As YAML</h3>", code(to_yaml({"steps": winner.recipe.dump()})),
        code(f"autocompress export {findings.study} --trial {winner.number}"),
    )  # fmt: skip


def _unmeasured(findings: Findings) -> str:
    """Of which steps nothing is known, and why."""
    missing = [s for s in steps.walked(findings) if not s.measurement]
    said = [f"{' + '.join(s.names)} could not be measured: {s.reason}." for s in missing if s.reason]
    if left := ", ".join(" + ".join(s.names) for s in missing if not s.reason):
        said.append(f"Not measured yet: {left}. " + (
            f"What is in the way: {findings.unreplayed}" if findings.unreplayed
            else f"Measure it by: autocompress report {findings.study}"
        ))  # fmt: skip
    return " ".join(said)


def the_finalists(findings: Findings) -> str:
    """What was measured again."""
    if not findings.finalists:
        return ""
    rows = [
        (f"t{t.number:03d}", findings.names[t.number], *(told(q, findings.known[t.number]).removeprefix(f"{called(q)} ")
         for q in ("score", "latency_ms", "size_mb")), f"{findings.known[t.number].get('seeds', 1):.0f}")
        for t in findings.finalists
    ]  # fmt: skip
    chosen = [f"t{findings.winner.number:03d}"] if findings.winner else []
    return section(
        "finalists", "Finalists, confirmed",
        paragraph("The best of many is too good to be true: so the first of the front are trained again with other "
                  "seeds, and timed in a process of their own. They are judged by these figures."),
        chart(finalists.finalists(findings), "finalists"),
        table(("trial", "recipe", "score", "latency", "size", "seeds"), rows, chosen),
    )  # fmt: skip


def the_worth(findings: Findings) -> str:
    """Knobs and methods."""
    return section(
        "worth", "What knobs and methods are worth",
        "<h3>What decides</h3>",
        paragraph("How much each method and knob decides whether a recipe is among the best in an objective "
                  f"(PED-ANOVA, as Optuna has it), by {len(findings.measured)} measured recipes. Small shares "
                  "may be chance."),
        chart(importance.importance(findings), "importance"),
        "<h3>With and without each method</h3>",
        paragraph("The median of the recipes with a method, less the median of those without, as a share of the "
                  "baseline's figure. What is chosen together cannot be told apart by this."),
        chart(importance.methods(findings), "methods"),
        "<h3>All recipes</h3>",
        paragraph("A line for every measured recipe, through what decides most and what was measured. On objectives up "
                  "is better."),
        chart(parallel.parallel(findings), "parallel", least=parallel.width(findings)),
    )  # fmt: skip


def the_pairs(findings: Findings) -> str:
    """Every two objectives but those of the first figure."""
    pairs = [pair for pair in combinations(findings.goals.objectives, 2) if set(pair) != {"score", "latency_ms"}]
    drawn = [chart(front.front(findings, x, y, None, 380), f"pair-{i}") for i, (y, x) in enumerate(pairs)]
    return section("pairs", "The front, two objectives at a time", beside(*drawn)) if drawn else ""


def the_course(findings: Findings) -> str:
    """How the search went, and where its time did."""
    return section(
        "course", "The course of the search",
        paragraph("Hypervolume: how much of what the limits allow is beaten by something that was found, as a share."),
        beside(chart(progress.progress(findings, "trials"), "trials"),
               chart(progress.progress(findings, "seconds"), "seconds")),
        "<h3>Where the time went</h3>", chart(course.time(findings), "time"),
        paragraph("What was saved is estimated by what trainings took on average.", soft=True),
        "<h3>What became of the recipes</h3>", chart(course.fates(findings), "fates"),
        paragraph("A recipe that breaks two limits is counted with both.", soft=True),
    )  # fmt: skip
