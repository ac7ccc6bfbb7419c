"""Values: small frozen ones, which the launcher resolves and the daemon uses, and the kind that is found out once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from functools import cached_property
    from typing import Any

    from typing_extensions import dataclass_transform

    once = cached_property
else:
    # Not functools.cached_property: with what that brings along it is a quarter of an interpreter's own start.
    class once:
        """A property that is found out when it is asked for first, and stays as it is."""

        def __init__(self, find_out: Any) -> None:
            self._find_out = find_out
            self.__doc__ = find_out.__doc__

        def __set_name__(self, _owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, _owner: type) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._find_out(instance)
            return value

    def dataclass_transform(**_facts: Any):
        return lambda cls: cls


if TYPE_CHECKING:
    from functools import lru_cache

    remembered = lru_cache(maxsize=1)
else:
    # Nor functools.lru_cache.
    class remembered:
        """A function that is asked the same again and again, and works it out when it is asked another thing."""

        def __init__(self, work_out: Any) -> None:
            self._work_out = work_out
            self._asked: Any = None

        def __call__(self, *asked: Any) -> Any:
            if asked != self._asked:
                self._answer = self._work_out(*asked)
                self._asked = asked
            return self._answer


# Not dataclasses and not typing.NamedTuple: each of them would make `import daemonry` half as dear again (inspect,
# typing) for what takes twenty lines here.
@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """A frozen value whose fields are its class's annotations; two with equal fields are equal."""

    __fields: tuple[str, ...] = ()
    __all: frozenset[str] = frozenset()

    def __init_subclass__(cls) -> None:
        own = (name for name in getattr(cls, "__annotations__", ()) if name not in cls.__fields)
        cls.__fields = (*cls.__fields, *own)
        cls.__all = frozenset(cls.__fields)

    def __init__(self, **values: Any) -> None:
        if values.keys() != self.__all:
            self._require_fields(values)
        self.__dict__.update(values)

    def _require_fields(self, values: dict[str, Any]) -> None:
        missing = [name for name in self.__fields if name not in values and not hasattr(type(self), name)]
        unknown = [name for name in values if name not in self.__fields]
        if missing or unknown:
            raise TypeError(f"{type(self).__name__}: missing {missing}, unknown {unknown}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} can't be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} can't be deleted")

    @property
    def does_nothing(self) -> bool:
        """Whether the step for which this is resolved has nothing to do."""
        return False

    def fields(self) -> dict[str, Any]:
        """Return the fields by name, in the order of the class."""
        return {name: getattr(self, name) for name in self.__fields}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Record) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.fields().values())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"

    def __str__(self) -> str:
        """Say in a few words, for a person, what the step will do with this value."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.fields().items())
