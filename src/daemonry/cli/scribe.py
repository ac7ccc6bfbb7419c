"""A process that writes a supervisor's logs, so that no log, however slow, makes the supervisor deaf."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from ..launch.report import pipe
from ..steps.descriptors import close_all_except
from ..system import process
from ..system.forks import fork
from ..system.undisturbed import signals_held_off
from .stamps import AsWritten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import NoReturn

# Seconds that the last lines may take to be written.
PATIENCE = 2.0
_PIECE = 65_536
# Pieces that are written before something else is looked at, be there ever so many.
_MOST = 16


class Scribe:
    """What the supervisor has to do with it.

    :param outputs: the pipes that are read, each with the stream that is written.
    :param streams: the streams of the supervisor that lead into them.
    :param reopen: opens the files of the streams again; called in the other process.
    :param form: what becomes of the lines.

    :ivar pid: ``int``, its number.
    """

    def __init__(
        self,
        outputs: Mapping[int, int],
        streams: Iterable[int],
        reopen: Callable[[], object],
        form: type[AsWritten] = AsWritten,
    ) -> None:
        self._form = form
        self._outputs = dict(outputs)
        self._streams = tuple(streams)
        self._reopen = reopen
        self._untold = 0
        self._begin(lambda: None)

    def _begin(self, first: Callable[[], object]) -> None:
        orders = pipe()
        with signals_held_off():
            self.pid = fork()
            if self.pid == 0:
                _Scribe(orders[0], self._outputs, self._reopen, self._form).write_all(first)
        os.close(orders[0])
        os.set_blocking(orders[1], False)
        self._orders = orders[1]

    def tell(self, text: str) -> None:
        """Have a line written to standard error, behind all that the program has written before."""
        line = f"daemonry: {text}"
        if self._untold:
            line = f"daemonry: {self._untold} messages could not be written\n{line}"
        try:
            os.write(self._orders, b"".join(b"tell %s\n" % each.encode() for each in line.splitlines()))
            self._untold = 0
        except OSError:  # it is being held up, and takes no more for the moment
            self._untold += 1

    def reopen(self) -> None:
        """Have the files opened again."""
        with suppress(OSError):
            os.write(self._orders, b"reopen\n")

    def go_on(self) -> None:
        """Begin anew, if somebody has killed it."""
        if os.waitpid(self.pid, os.WNOHANG)[0]:
            os.close(self._orders)
            self._begin(self._open_logs)

    def _open_logs(self) -> None:
        # The streams of the supervisor lead to the one that writes, and must not lead there from itself. What is for
        # reading takes nothing; inside another root there need be no /dev/null.
        reading = pipe()[0]
        for stream in self._streams:
            os.dup2(reading, stream)
        self._reopen()

    def end(self) -> None:
        """Let it write what is there, and end; what is held up is given up."""
        os.close(self._orders)
        if not process.wait_for_exit(self.pid, PATIENCE):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class _Scribe:
    """The process that writes. It waits as long as a write takes, and so does the program, as with a log of its own."""

    def __init__(
        self, orders: int, outputs: Mapping[int, int], reopen: Callable[[], object], form: type[AsWritten]
    ) -> None:
        self._orders = orders
        self._outputs = outputs
        self._reopen = reopen
        self._lost = dict.fromkeys((1, 2), 0)
        self._why = ""
        self._forms = {stream: form() for stream in outputs.values()}
        # Both streams lead to one file where they have one pipe.
        self._forms.setdefault(2, self._forms.get(1, form()))

    def write_all(self, first: Callable[[], object]) -> NoReturn:
        """Write until the supervisor has ended.

        :param first: called before all else.
        """
        try:
            signal.set_wakeup_fd(-1)
            first()
            close_all_except((self._orders, *self._outputs))
            self._serve()
        finally:
            os._exit(0)

    def _serve(self) -> None:
        poll = select.poll()
        for fd in (self._orders, *self._outputs):
            poll.register(fd, select.POLLIN)
        is_wanted = True
        while is_wanted:
            ready = [fd for fd, _ in poll.poll()]
            # First what the program has written: what is told behind it comes behind it.
            for fd in self._outputs:
                self._copy(fd)
            is_wanted = self._orders not in ready or self._obey()

    def _copy(self, fd: int) -> None:
        with suppress(BlockingIOError):
            for _ in range(_MOST):
                data = os.read(fd, _PIECE)
                if not data:
                    return
                stream = self._outputs[fd]
                self._write(stream, self._forms[stream].put(data))

    def _obey(self) -> bool:
        """Do what the supervisor wants done; return whether it is still there."""
        orders = os.read(self._orders, _PIECE)
        for line in orders.splitlines():
            word, _, text = line.partition(b" ")
            if word == b"reopen":
                self._reopen()
            else:
                self._write(2, self._forms[2].line(text + b"\n"))
        return orders != b""

    def _write(self, stream: int, data: bytes) -> None:
        """Write all of it; what can't be is counted, for it is not worth the program's life, and told of later."""
        if self._lost[stream]:
            told = b"daemonry: %d bytes could not be written: %s\n" % (self._lost[stream], self._why.encode())
            if self._left_of(stream, self._forms[stream].line(told)):
                self._lost[stream] += len(data)
                return
            self._lost[stream] = 0
        self._lost[stream] += self._left_of(stream, data)

    def _left_of(self, stream: int, data: bytes) -> int:
        """Write to a stream; return how many bytes it has not taken."""
        try:
            while data:
                data = data[os.write(stream, data) :]
        except OSError as error:  # a full disk, a reader that has gone
            self._why = os.strerror(error.errno or 0)
        return len(data)
