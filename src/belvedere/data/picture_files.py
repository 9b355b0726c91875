"""Pictures by their names, in a folder of any depth or in a zip archive that stays packed."""

import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from belvedere.data.records import unreadable
from belvedere.errors import BadInput

_LOCAL_HEADER = struct.Struct("<26x2H")
"""Before a member of an archive: its last two fields are the lengths of what follows it."""


class PictureFiles(ABC):
    """Pictures that are asked for by the number of their name.

    Args:
        place: a folder or an archive.
        names: of the pictures that may be asked for: file names, or ends of paths.

    Attributes:
        paths: of each name within the place; null where there is none. In Arrow, as there may be
            hundreds of thousands of them.
    """

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        self.place = place
        self.paths = pa.array(placed(names, self.files(), str(place)), pa.string())

    @abstractmethod
    def files(self) -> Iterable[str]:
        """The paths of all files there. Raises `BadInput` if the place cannot be read."""

    @abstractmethod
    def picture(self, number: int) -> bytes | str:
        """The bytes of a picture's file, or its path. Raises `BadInput` if they cannot be read."""

    def where(self, number: int) -> str:
        """What a message calls a picture."""
        return f"{self.place}/{self.paths[number]}"

    def missing(self) -> np.ndarray:
        """[names], bool: those without a picture."""
        return self.paths.is_null().to_numpy(zero_copy_only=False)


class FolderOfPictures(PictureFiles):
    """Picture files in a folder, or in folders within it."""

    def files(self) -> Iterator[str]:
        """The paths of all files, from the folder on."""

        def refuse(error: OSError) -> None:
            raise unreadable(Path(error.filename or self.place), error) from error

        for folder, _, names in os.walk(self.place, onerror=refuse):
            inside = Path(folder).relative_to(self.place)
            yield from ((inside / name).as_posix() for name in names)

    def picture(self, number: int) -> str:
        """The path of a picture."""
        return self.where(number)


class ArchiveOfPictures(PictureFiles):
    """Pictures of a zip archive, read one by one.

    ``zipfile`` would keep some 400 MB of objects for 600,000 members in each process, and processes
    that share an open one read each other's bytes. So only places and sizes are kept of what it
    finds, and the archive is opened for each picture.
    """

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        try:
            with zipfile.ZipFile(place) as opened:
                self._members = {one.filename: one for one in opened.infolist()}
        except zipfile.BadZipFile as error:
            raise BadInput(
                f"not a zip archive that can be read ({error})",
                where=str(place),
                remedy="fetch it again",
            ) from error
        except OSError as error:
            raise unreadable(place, error) from error
        super().__init__(place, names)
        found = [self._members.get(path) for path in self.paths.to_pylist()]
        del self._members
        for one in found:
            if one and (one.flag_bits & 1 or one.compress_type not in (0, zipfile.ZIP_DEFLATED)):
                raise BadInput(
                    "is encrypted or compressed in a rare way",
                    where=f"{place}/{one.filename}",
                    remedy="unpack the archive and give the folder",
                )
        # Where each begins, and its bytes in the archive and out of it; equal if stored as it is.
        self._spans = np.array(
            [(m.header_offset, m.compress_size, m.file_size) if m else (0, 0, 0) for m in found],
            np.int64,
        ).reshape(-1, 3)
        self._deflated = np.array([bool(m and m.compress_type) for m in found])

    def files(self) -> Iterable[str]:
        """The paths of all members."""
        return self._members

    def picture(self, number: int) -> bytes:
        """The bytes of a picture's file."""
        start, packed, size = self._spans[number].tolist()
        try:
            with self.place.open("rb") as opened:
                opened.seek(start)
                opened.seek(sum(_LOCAL_HEADER.unpack(opened.read(_LOCAL_HEADER.size))), 1)
                content = opened.read(packed)
            if self._deflated[number]:
                # No more than the archive says, whatever the member would grow to.
                return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, max(size, 1))
            return content
        except OSError as error:
            raise unreadable(self.place, error) from error
        except (zlib.error, struct.error) as error:
            raise BadInput(
                f"damaged in the archive ({error})",
                where=self.where(number),
                remedy="fetch the archive again",
            ) from error


def open_pictures(place: str, names: Sequence[str], key: str) -> PictureFiles:
    """The pictures of a folder, or of a ``.zip`` file.

    Args:
        place: the folder or file.
        names: of the pictures that may be asked for.
        key: the setting that the place comes from, for messages.

    Raises:
        BadInput: it is neither, cannot be read, or has two pictures of one name.
    """
    path = Path(place)
    if path.is_dir():
        return FolderOfPictures(path, names)
    if path.is_file() and path.suffix.lower() == ".zip":
        return ArchiveOfPictures(path, names)
    what = "neither a folder nor a .zip file" if path.exists() else "there is no such file"
    raise BadInput(what, where=place, remedy=f"give the pictures as {key}=FOLDER_OR_FILE.zip")


def placed(names: Sequence[str], paths: Iterable[str], where: str) -> list[str | None]:
    """For each name the path that ends with it; None if there is none.

    Args:
        names: of files, with as many of their folders as are known.
        paths: of all files there.
        where: they are, for the message.

    Raises:
        BadInput: two paths end with the same name.

    Example:
        >>> placed(["1.png", "b/2.png", "3.png"], ["in/1.png", "in/a/2.png", "in/b/2.png"], "")
        ['in/1.png', 'in/b/2.png', None]
    """
    found: dict[str, str | None] = dict.fromkeys(names)
    for path in paths:
        tail, more = path, "/"
        while more:
            if tail in found:
                if found[tail] is not None:
                    raise BadInput(
                        f"both {found[tail]} and {path} are called {tail}",
                        where=where,
                        remedy="keep one of them, or call the pictures by longer paths",
                    )
                found[tail] = path
            _, more, tail = tail.partition("/")
    return [found[name] for name in names]
