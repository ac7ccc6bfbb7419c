"""A whole life: from the execution of the program to its body, idle, and from SIGTERM to its end."""

from __future__ import annotations

from ..launching import Setting, memory_of
from ..rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench, Question
    from ..launching import Start


def measure(bench: Bench) -> list[Row]:
    """Start every subject without a pidfile and with one, and beside modules that most services import anyway."""
    with_pidfile = ", with a pidfile"
    lives = [
        *bench.starts(Setting(), [*opening("", ""), *_rest("", "")]),
        *bench.starts(
            Setting(pidfile=True),
            [*opening("-pidfile", with_pidfile), *_rest("-pidfile", with_pidfile), _left_behind(bench)],
        ),
    ]
    lives += _leaving_early(bench)
    used = Setting(words=("import=asyncio,logging,socket",))
    return [*lives, *bench.starts(used, opening("-used", ", in a program that imports asyncio, logging and socket"))]


def opening(key: str, what: str) -> list[Question]:
    """Return the questions for how long it took until the body began."""
    return [
        (Row(f"open{key}", f"open() to body{what}", "ms"), lambda start: (start.up - start.opened) / 1e6),
        (Row(f"exec{key}", f"execution to body{what}", "ms"), lambda start: (start.up - start.executed) / 1e6),
    ]


def _rest(key: str, what: str) -> list[Question]:
    def until_launcher(start: Start) -> float:
        return (start.wait_for_launcher() - start.executed) / 1e6

    return [
        # First, for the daemon is as it stays when its launcher has gone.
        (Row(f"launcher{key}", f"execution to the launcher's exit{what}", "ms"), until_launcher),
        *standing(key, what),
        (Row(f"sigterm{key}", f"SIGTERM to gone{what}", "ms"), lambda start: start.terminate() / 1e6),
    ]


def standing(key: str, what: str) -> list[Question]:
    """Return the questions for what the daemon takes while it does nothing."""
    return [
        (Row(f"rss{key}", f"resident memory, idle{what}", "KiB"), lambda start: memory_of(start.pid)[0]),
        (Row(f"pss{key}", f"its share of what is resident, idle{what}", "KiB"), lambda start: memory_of(start.pid)[1]),
        (Row(f"modules{key}", f"modules loaded in the body{what}", "modules"), lambda start: start.modules),
    ]


def _leaving_early(bench: Bench) -> list[Row]:
    """Let whatever is forked take its time, and see whether the launcher waits for it."""
    pause = 0.1
    row = Row(
        "early", f"how long the launcher is gone before the body, where a fork takes {pause} s longer", "ms", None
    )

    def ahead(start: Start) -> float:
        early = max(0.0, (start.up - start.wait_for_launcher()) / 1e6)
        if early > pause * 1e3 / 2:
            row.notes[start.name] = "leaves before the daemon is up, and can't say how it went"
        return early

    return bench.starts(Setting(pidfile=True, words=(f"pause={pause}",)), [(row, ahead)], rounds=1)


def _left_behind(bench: Bench) -> Question:
    row = Row("left", "pidfiles left behind by SIGTERM", "files", base=None)
    return row, lambda _start: float(bench.runner.pidfile.exists())
