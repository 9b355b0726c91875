"""Chart-to-Text (Kantharaj et al. 2022, arXiv 2203.06486): charts and what was written of them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import PreTrainedTokenizerBase

from belvedere.charts.tasks import Example
from belvedere.data.downstream import DownstreamDataModule, Found
from belvedere.data.records import Record, read_text
from belvedere.errors import BadInput

Source = Literal["pew", "statista"]
KINDS = {"two": ("simple", ""), "multi": ("complex", "multiColumn")}
"""By the columns of a chart's table: the paper's word for the chart, and its folder."""
_LINE = re.compile(r"(two|multi)_col-(\d+)\.txt")
_HEADER = "File_No"


class ChartToTextDataModule(DownstreamDataModule):
    """Summaries of the charts of Pew Research or of Statista, from the release's folder or the hub.

    The folder is that of GitHub's vis-nlp/Chart-to-text, or ``SOURCE_dataset/dataset`` in it::

        imgs/ID.png  captions/ID.txt                            simple charts: two columns
        multiColumn/imgs/ID.png  multiColumn/captions/ID.txt    complex charts: more columns
        dataset_split/SPLIT_index_mapping.csv                   two_col-ID.txt or multi_col-ID.txt
                                                                on each line, after a header

    Captions that are not there are counted as charts without an answer. Simple and complex charts
    are told apart as kinds. A set of the hub has to have ``image`` and a column of captions.

    Args:
        tokenizer: of charts.
        source: whose charts.
        caption_column: of the hub's set: the summaries.
        options: see `DownstreamDataModule`.

    Raises:
        BadInput: an unknown source; see `DownstreamDataModule`.
    """

    layout = "dataset_split/{}_index_mapping.csv"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        source: Source = "statista",
        caption_column: str = "caption",
        **options: Any,
    ) -> None:
        if source not in get_args(Source):
            raise BadInput(
                f"there are no charts of {source!r}",
                where="data.source",
                remedy=f"choose {' or '.join(get_args(Source))}",
            )
        super().__init__(tokenizer, **options)
        self.source: Source = source
        self.caption_column = caption_column

    def root(self, folder: Path) -> Path:
        """The folder of the source, where both are in the set's."""
        inside = folder / f"{self.source}_dataset" / "dataset"
        return inside if inside.is_dir() else folder

    def local(self, place: Path) -> Iterator[Found]:
        """The charts that a split's file lists, with their captions."""
        root = place.parents[1]
        for number, line in enumerate(read_text(place).splitlines(), 1):
            if not line.strip() or line.strip() == _HEADER:
                continue
            where = f"{place}:{number}"
            listed = _LINE.fullmatch(line.strip())
            if listed is None:
                raise BadInput(
                    f"{line.strip()[:40]!r} names no chart",
                    where=where,
                    remedy="write two_col-ID.txt or multi_col-ID.txt",
                )
            kind, below = KINDS[listed[1]]
            caption = root / below / "captions" / f"{listed[2]}.txt"
            text = read_text(caption) if caption.is_file() else ""
            picture = root / below / "imgs" / f"{listed[2]}.png"
            yield Found(str(picture), Record({self.caption_column: text}, where), kind)

    def example(self, record: Record) -> Example:
        """The summary of a chart, on one line."""
        caption = " ".join(record.text(self.caption_column, "data.caption_column").split())
        return Example("summary", "", caption, (caption,))
