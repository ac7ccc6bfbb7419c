"""The files by which service managers run a program as ``daemonry start`` would: one file for each manager."""

from __future__ import annotations

import importlib

from .service import PARTS, Service, Unit, Unsayable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MANAGERS", "PARTS", "Service", "Unit", "Unsayable", "write"]

MANAGERS = ("systemd", "launchd", "openrc", "runit", "s6")


def write(manager: str, service: Service) -> Unit:
    """Return what the manager is to be given for a service.

    :param manager: one of :data:`MANAGERS`.
    :raises Unsayable: when this manager can't be told what the service asks for.
    """
    module = importlib.import_module(f".{manager}", __name__)
    unit: Callable[[Service], Unit] = module.unit
    return unit(service)
