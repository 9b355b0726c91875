"""OpenCQA (Kantharaj et al. 2022, arXiv 2210.06628): questions about charts answered in prose."""

from collections.abc import Iterator
from pathlib import Path

from belvedere.charts.tasks import Example
from belvedere.data.downstream import DownstreamDataModule, Found
from belvedere.data.records import Record, read_records


class OpenCQADataModule(DownstreamDataModule):
    """Open-ended questions about charts of Pew Research, from a folder or the hub.

    In the folder, a split is ``SPLIT.json``, a list of ``{imgname, question, abstractive_answer}``
    (``title``, ``summary`` and ``extractive_answer`` are not used), and all pictures are in
    ``png/``. The reader is given the chart alone, without the text around it: the paper's third
    setting. A set of the hub has to have ``image`` and the same columns.
    """

    layout = "{}.json"

    def local(self, place: Path) -> Iterator[Found]:
        """The questions of a split's file."""
        for record in read_records(place):
            yield Found(str(record.file_in(place.parent / "png", "imgname")), record)

    def example(self, record: Record) -> Example:
        """A question with its answer."""
        answer = record.text("abstractive_answer").strip()
        return Example("open", record.text("question").strip(), answer, (answer,))
