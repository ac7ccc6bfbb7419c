"""What the command refuses before anything has been done."""

from __future__ import annotations

from ..errors import DaemonError


class Refusal(DaemonError):
    """The words of the command line can't be carried out.

    :ivar status: ``int``, the exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
