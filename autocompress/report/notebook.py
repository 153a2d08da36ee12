"""A study that shows itself, in a notebook or a terminal: its front as a table, trials as a DataFrame, figures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from autocompress.report.figures.plots import PlottedStudy
from autocompress.report.terminal.sheet import text

if TYPE_CHECKING:
    import pandas
    from rich.console import RenderableType

    from autocompress.report.terminal.sheet import Sheet


class ShownStudy(PlottedStudy):
    """What `study` alone on a line shows is what a search ends with."""

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for every recipe that was tried, by trial number, with the columns of `autocompress tabulate`."""
        import pandas

        from autocompress.report.parquet import table

        rows = pandas.DataFrame(table(self.trials))
        return rows if rows.empty else rows.set_index("number")

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {self._state}>"

    def __rich__(self) -> RenderableType:
        """For `rich.print(study)`."""
        from rich.console import Group

        from autocompress.report.terminal.table import PlainTable

        sheet, said = self._sheet, f"{self.name}: {self._state}"
        return Group(said, PlainTable(sheet, "study.to_dataframe()")) if sheet else said

    def _repr_html_(self) -> str:
        """For notebooks."""
        said = f"<p>{escape(f'{self.name}: {self._state}')}</p>"
        if (sheet := self._sheet) is None:
            return said
        head = "".join(f"<th>{escape(column.name)}</th>" for column in sheet.columns)
        rows = ["".join(f"<td>{escape(text(cell))}</td>" for cell in row) for row in sheet.rows]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in sheet.notes)
        return f"{said}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    @property
    def _state(self) -> str:
        if self.baseline is None:
            return "its baseline was not measured yet"
        front = len(self.front)
        return f"{self.charged()} trials trained, {front} on the front" if front else f"{self.charged()} trials trained"

    @property
    def _sheet(self) -> Sheet | None:
        """The front with the baseline; all trials, while nothing is feasible; None before anything was measured."""
        from autocompress.report.terminal.trial_sheets import front_sheet, trial_sheet

        if self.baseline is None:
            return None
        if not self.front:
            return trial_sheet(self.listed())
        return front_sheet(self.baseline, self.front, self.best(), self.brief.search.rule)
