"""The letters of charts: font files from packages, so that pictures are the same everywhere."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import matplotlib
from matplotlib.font_manager import FontProperties, get_font

from belvedere.errors import BadInput


@dataclass(frozen=True)
class Family:
    """A font family: the package with its files, and the smallest em (pixels) that reads well."""

    package: str
    regular: str
    bold: str
    size: float


MATPLOTLIB = "matplotlib"
FAMILIES: dict[str, Family] = {
    "DejaVu Sans": Family(MATPLOTLIB, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", 7.5),
    "DejaVu Serif": Family(MATPLOTLIB, "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", 7.5),
    "STIX": Family(MATPLOTLIB, "STIXGeneral.ttf", "STIXGeneralBol.ttf", 9.5),
    "Roboto": Family("font_roboto", "Roboto-Regular.ttf", "Roboto-Bold.ttf", 8.5),
    "Source Sans": Family(
        "font_source_sans_pro", "SourceSansPro-Regular.ttf", "SourceSansPro-Bold.ttf", 9.5
    ),
    "Source Serif": Family(
        "font_source_serif_pro", "SourceSerifPro-Regular.ttf", "SourceSerifPro-Bold.ttf", 9.0
    ),
    "Manrope": Family("font_manrope", "Manrope-Regular.ttf", "Manrope-Bold.ttf", 8.5),
    "Hanken Grotesk": Family(
        "font_hanken_grotesk", "HankenGrotesk-Regular.otf", "HankenGrotesk-Bold.otf", 8.5
    ),
}


def font(family: str, size: float, bold: bool = False) -> FontProperties:
    """The family's font at an em of ``size`` points, by its file.

    Raises:
        BadInput: the package with the file is not installed.
    """
    properties = FontProperties(fname=str(font_file(family, bold)))
    properties.set_size(size)
    return properties


@cache
def font_file(family: str, bold: bool = False) -> Path:
    """Where the font's file is. Raises `BadInput` as `font` does."""
    found = FAMILIES[family]
    name = found.bold if bold else found.regular
    if found.package == MATPLOTLIB:
        return Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    try:
        return Path(str(files(found.package).joinpath("files", name)))
    except ModuleNotFoundError as error:
        raise BadInput(
            f"the font {family} is not installed",
            where=found.package,
            remedy="pip install -c constraints.txt -e '.[charts]'",
        ) from error


@cache
def advance(file: str, character: str) -> float:
    """How far a character moves the pen, in em; without hinting and kerning."""
    face = get_font(file)
    face.set_size(100, 72)
    return face.load_char(ord(character)).linearHoriAdvance / 65536 / 100
