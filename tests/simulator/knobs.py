"""How the simulator behaves, and how it misbehaves on request."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import GenericAlias
from typing import get_args, get_origin, get_type_hints

Value = str | int | float | bool | list[str] | list[int]


class UnknownKnobError(ValueError):
    """There is no knob of that name, or it does not take that value."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """One setting of everything that can be set; times are milliseconds unless said otherwise.

    Turned knobs live as long as the process; a simulator that is started again begins with
    those of its command line. `csp` and `unreachable` hold for everybody or for nobody.
    """

    # How the page comes up.
    boot_ms: int = 300
    sync_ms: int = 600
    gap_ms: int = 100  # quiet time between the bursts in which modules are registered
    filler: int = 1000  # modules that do nothing, which a client has to get past
    late_modules: tuple[str, ...] = ()  # held back for `late_ms` more
    late_ms: int = 0
    version: str = "2.3000.1048032155"
    csp: bool = True
    reject_headless: bool = False
    stuck: str = ""  # "boot": the application never starts; "sync": it never becomes ready

    # How a device is linked.
    qr_ttl: float = 20.0  # seconds
    qr_max: int = 6  # codes shown before the page gives up waiting
    max_devices: int = 4  # linked devices of one account
    history: int = 100  # newest messages that a newly linked device is given

    # How the server answers.
    ack_ms: tuple[int, ...] = (20, 150, 300)  # to server ack, from there to delivered, to read
    ack_up_to: int = 3  # 0 withholds even the server's acknowledgement
    ack_reorder: bool = False  # read before delivered before sent
    unreachable: bool = False  # every page load and every socket is answered 503
    refuse_sockets: bool = False  # only sockets are
    min_version: str = ""  # an older page is told DEPRECATED_VERSION
    blocked: str = ""  # "TOS_BLOCK" or "SMB_TOS_BLOCK": what an account's devices are told
    conflict: str = "older"  # which of two pages of one device is told CONFLICT; or "newer"

    def changed(self, values: Mapping[str, object]) -> "Knobs":
        """These knobs with some turned; raises UnknownKnobError."""
        return replace(self, **{name: _checked(name, value) for name, value in values.items()})

    def plain(self) -> dict[str, Value]:
        """As JSON takes it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


KINDS: dict[str, type | GenericAlias] = get_type_hints(Knobs)


class KnobBoard:
    """The knobs of everybody, of one account, of one device: the narrowest wins."""

    def __init__(self, everybody: Knobs) -> None:
        self._start = everybody
        self.everybody = everybody
        self._own: dict[str, dict[str, object]] = {}

    def turn(self, values: Mapping[str, object], *, scope: str | None = None) -> None:
        """Turn knobs for all, or for one scope (an account's number or a device's id)."""
        checked = {name: _checked(name, value) for name, value in values.items()}
        if scope is None:
            self.everybody = replace(self.everybody, **checked)
        else:
            self._own.setdefault(scope, {}).update(checked)

    def of(self, *, number: str | None = None, device: str | None = None) -> Knobs:
        """What holds for this device of this account."""
        own = self._own.get(number or "", {}) | self._own.get(device or "", {})
        return replace(self.everybody, **own) if own else self.everybody

    def reset(self) -> None:
        """Back to how the process was started."""
        self.everybody = self._start
        self._own.clear()


def _checked(name: str, value: object) -> object:
    if name not in KINDS:
        raise UnknownKnobError(f"no knob is called {name!r}; there are: {', '.join(sorted(KINDS))}")
    hint = KINDS[name]
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        item = get_args(hint)[0]
        if all(_is_a(item, element) for element in value):
            return tuple(value)
    elif isinstance(hint, type) and _is_a(hint, value):
        return value
    raise UnknownKnobError(f"knob {name!r} takes {hint}, not {value!r}")


def _is_a(kind: type, value: object) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
