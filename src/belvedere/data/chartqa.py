"""ChartQA (Masry et al. 2022, arXiv 2203.10244): questions about charts, and their data tables."""

import csv
from collections.abc import Iterator
from pathlib import Path

from belvedere.charts.tables import linearise, parse
from belvedere.charts.tasks import Example
from belvedere.data.downstream import DownstreamDataModule, Found
from belvedere.data.records import Record, read_records, unreadable
from belvedere.errors import BadInput

GROUPS = ("human", "augmented")
"""Who wrote the questions; published numbers are given for each."""


class ChartQADataModule(DownstreamDataModule):
    """Questions about charts with a short answer, from ChartQA's folder or the hub.

    In the folder, a split is ``SPLIT/png/*.png`` with the questions that people wrote in
    ``SPLIT/*_human.json`` and the generated ones in ``SPLIT/*_augmented.json``: lists of
    ``{imgname, query, label}``. The hub's rows have ``image``, ``query``, ``label`` and
    ``human_or_machine`` (0 or 1). Where ``label`` is a list, every text in it is right and the
    first one is learned. The two groups of questions are told apart as kinds.
    """

    layout = "{}/png"

    def local(self, place: Path) -> Iterator[Found]:
        """The questions of a split's files, with their group."""
        files = sorted(place.parent.glob("*.json"))
        if not files:
            name = place.parent.name
            raise BadInput(
                "there are no questions",
                where=str(place.parent),
                remedy=f"add {name}_human.json or {name}_augmented.json",
            )
        # People's questions first, as everywhere where both are named.
        for file in sorted(files, key=_group, reverse=True):
            for record in read_records(file):
                yield Found(str(record.file_in(place, "imgname")), record, _group(file))

    def example(self, record: Record) -> Example:
        """A question with all its right answers."""
        label = record.fields.get("label")
        labels = label if isinstance(label, list) else [record.text("label")]
        if not all(isinstance(one, str) for one in labels):
            raise BadInput(
                "'label' is no list of texts", where=record.where, remedy='write ["...", "..."]'
            )
        accepted = tuple(dict.fromkeys(one.strip() for one in labels if one.strip()))
        question = record.text("query").strip()
        return Example("reasoning", question, accepted[0] if accepted else "", accepted)

    def kind(self, record: Record) -> str:
        """Who wrote a question of the hub's."""
        number = record.fields.get("human_or_machine")
        return GROUPS[number] if number in (0, 1) else ""


class ChartToTableDataModule(DownstreamDataModule):
    """The data tables of charts, from ChartQA's folder or the hub.

    In the folder, a split is ``SPLIT/png/*.png`` and ``SPLIT/tables/*.csv``, a table being called
    like its picture. Pictures without a table are left out and counted. The hub's ChartQA has no
    tables; a set of the hub has to have ``image`` and ``table``, a table being one line as in
    `belvedere.charts.tables`.
    """

    layout = "{}/tables"

    def local(self, place: Path) -> Iterator[Found]:
        """The pictures of a split with their tables."""
        tables = {file.stem: file for file in place.glob("*.csv")}
        folder = place.parent / "png"
        for name in sorted(tables.keys() | {file.stem for file in folder.glob("*.png")}):
            file, picture = tables.get(name), folder / f"{name}.png"
            table = "" if file is None else linearise(read_table(file))
            yield Found(str(picture), Record({"table": table}, str(file or picture)))

    def example(self, record: Record) -> Example:
        """The task of extracting a table, which has to be whole and have a data point."""
        table = record.text("table").strip()
        cells = parse(table)
        for number, row in enumerate(cells):
            if len(row) != len(cells[0]):
                raise BadInput(
                    f"row {number} of the table has {len(row)} cells, but the header "
                    f"{len(cells[0])}",
                    where=record.where,
                    remedy="make them equal; write separators within a cell as \\| and \\&",
                )
        if table and (len(cells) < 2 or min(map(len, cells)) < 2):
            raise BadInput(
                "the table has no data point",
                where=record.where,
                remedy="give a header and rows of two or more cells",
            )
        return Example("table", "", table, (table,))


def read_table(file: Path) -> list[list[str]]:
    """The cells of a CSV file, header first; blank lines are no rows.

    Raises:
        BadInput: an unreadable file, or a row that is not as long as the header.
    """
    rows: list[list[str]] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened)
            for row in filter(None, reader):
                if rows and len(row) != len(rows[0]):
                    raise BadInput(
                        f"the row has {len(row)} cells, but the header {len(rows[0])}",
                        where=f"{file}:{reader.line_num}",
                        remedy='make them equal; put text with commas in "..."',
                    )
                rows.append(row)
    except OSError as error:
        raise unreadable(file, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            f"not a CSV file in UTF-8 ({error})", where=str(file), remedy="save it again"
        ) from error
    if not rows:
        raise BadInput("the table is empty", where=str(file), remedy="fill it, or remove the file")
    return rows


def _group(file: Path) -> str:
    """Whose questions a file holds, by its name."""
    group = file.stem.rpartition("_")[2]
    if group not in GROUPS:
        raise BadInput(
            "these are neither people's questions nor generated ones",
            where=str(file),
            remedy="let its name end with _human.json or _augmented.json, or move it away",
        )
    return group
