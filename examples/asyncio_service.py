"""An asyncio service: answers every line that it gets with its number, until SIGTERM; SIGHUP has it count anew.

    python3 asyncio_service.py --port 8007 --log asyncio_service.log

Its parts stop in the reverse order of their start. Under systemd it says when it is ready and when it reloads, feeds
the watchdog for as long as its event loop goes round, and takes the sockets that systemd has opened for it.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys

from daemonry import DaemonContext, DaemonStartError, PIDLockFile
from daemonry.manager.watchdog import feed


def say(text):
    print(text, flush=True)


class Counter:
    """How many lines have been answered."""

    lines = 0

    @contextlib.contextmanager
    def counting(self):
        say("the counter starts")
        try:
            yield self
        finally:
            say(f"the counter stops at {self.lines}")

    async def answer(self, reader, writer):
        async for line in reader:
            self.lines += 1
            writer.write(b"%d %s" % (self.lines, line))
            await writer.drain()


class Connections:
    """Those who are being answered. Each has a task, which nobody else would wait for at the end."""

    def __init__(self, answer):
        self._answer = answer
        self._tasks = set()

    async def accept(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            await self._answer(reader, writer)
        except asyncio.CancelledError:
            # By close(). What he has not read by now he doesn't get, or one who never reads would hold up the end.
            writer.transport.abort()
        except (ConnectionError, ValueError) as error:  # the client has gone, or its line is too long
            say(f"a connection ends: {error}")
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())

    async def close(self):
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def listening(answer, sockets):
    connections = Connections(answer)
    servers = [await asyncio.start_server(connections.accept, sock=each) for _, each in sockets]
    say(f"listening: {', '.join(name for name, _ in sockets)}")
    try:
        yield
    finally:
        for server in servers:
            server.close()
        await connections.close()
        say("no longer listening")


def reload(context, counter):
    with context.service_manager.reloading():
        counter.lines = 0
        say("the counter begins anew")


async def serve(context, sockets):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        counter = stack.enter_context(Counter().counting())
        await stack.enter_async_context(listening(counter.answer, sockets))
        stack.callback(asyncio.create_task(feed(context)).cancel)
        # The loop's own handlers: they wake it while it is idle, and run between two of its steps.
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload, context, counter)
        context.progress(f"process {os.getpid()} answers")
        context.ready()
        await stop.wait()


def sockets_of(context, port):
    return context.listen_fds() or [(f"port {port}", socket.create_server(("127.0.0.1", port)))]


def main(options):
    pidfile = PIDLockFile(options.pidfile) if options.pidfile else None
    with DaemonContext(pidfile=pidfile, umask=0o022, ready="manual", stdout=options.log, stderr=options.log) as context:
        asyncio.run(serve(context, sockets_of(context, options.port)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answer lines on a port of 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8007)
    parser.add_argument("--log", help="append messages to this file")
    parser.add_argument("--pidfile", help="hold this file's lock, so that there is one of it only")
    try:
        main(parser.parse_args())
    except DaemonStartError as error:
        sys.exit(f"asyncio_service: {error}")
