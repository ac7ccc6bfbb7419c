"""What a launcher is to know of its daemon when that has failed, or is up: its number, and which files it writes to."""

from __future__ import annotations

import mmap
import os
import struct

from ..launch.messages import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Lines of its log that a daemon which failed to start is shown with.
_LAST_LINES = 10


class StartNotes:
    """Which files the streams of a daemon are, and how long they were: noted by it, and read in its launcher.

    The launcher can't tell by their paths, where the daemon may put something else.
    """

    _PID = struct.Struct("Q")
    _EACH = struct.Struct("QQQ")

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the processes that are forked

    def note(self) -> None:
        """Note what this process is, and its descriptors 1 and 2."""
        self._PID.pack_into(self._page, 0, os.getpid())
        for number in (1, 2):
            found = os.fstat(number)
            self._EACH.pack_into(self._page, number * self._EACH.size, found.st_dev, found.st_ino, found.st_size)

    @property
    def pid(self) -> int:
        """The number of the daemon; 0 when none has noted it."""
        return int(self._PID.unpack_from(self._page)[0])

    def last_words(self, *paths: object, besides: Collection[str] = ()) -> Iterator[str]:
        """Yield the last lines that a daemon has written to the files of its stdout and its stderr, each file once.

        :param paths: of both; what is no path is passed over.
        :param besides: lines that the user is shown anyway.
        """
        seen = set()
        for number, path in enumerate(paths, 1):
            if isinstance(path, (str, os.PathLike)) and os.fspath(path) not in seen:
                seen.add(os.fspath(path))
                lines = self._last_words_in(number, os.fspath(path), _LAST_LINES + len(besides))
                yield from [printable(line) for line in lines if line not in besides][-_LAST_LINES:]

    def _last_words_in(self, number: int, path: str, most: int) -> list[str]:
        from . import log_view

        # A FIFO whose writer has ended would never be opened, what a terminal answers was not the daemon's, and
        # whatever else lies there by now, be it by a link, was put there by the daemon or by a stranger.
        try:
            if not os.path.isfile(path) or self._size_at_start(number, os.stat(path)) is None:
                return []
            fd = os.open(path, log_view.READING)
        except OSError:  # it is gone
            return []
        try:
            size = self._size_at_start(number, os.fstat(fd))
            return [] if size is None else log_view.last_words(fd, most, size)
        finally:
            os.close(fd)

    def _size_at_start(self, number: int, found: os.stat_result) -> int | None:
        """Return how long the file of a stream was; ``None`` when what has been found is not that file."""
        device, inode, size = self._EACH.unpack_from(self._page, number * self._EACH.size)
        return int(size) if (device, inode) == (found.st_dev, found.st_ino) else None
