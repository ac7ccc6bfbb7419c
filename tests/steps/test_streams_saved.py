"""The streams as they were before a start in the foreground, where they can't all be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.daemons import Daemons


def test_where_no_more_files_may_be_open_those_that_were_copied_are_closed_again(daemons: Daemons) -> None:
    """Whatever the limit is that the start fails at."""
    launched = daemons.launch(
        """
        import os, resource
        from daemonry import DaemonContext, DaemonStartError
        def numbers():
            return os.listdir("/proc/self/fd")
        def start(limit):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            try:
                DaemonContext(detach_process=False, working_directory=".", stdout="log").open()
            except DaemonStartError:
                return False
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
            return True
        before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = numbers()
        limit = 3
        while not start(limit):
            if numbers() != held:
                os.write(2, f"{limit}: {numbers()}, not {held}".encode())
                os._exit(1)
            limit += 1
        os.write(2, f"{limit - 3} refused".encode())
        """
    ).check()
    assert int(launched.stderr.split()[0]) > len(("stdin", "stdout", "stderr"))
