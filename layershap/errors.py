"""What ends a command: bad input (exit status 2) and failed runs (exit status 1)."""

from __future__ import annotations

import re

__all__ = ["RunFailed", "UserError"]

_PLACE = re.compile(
    r"(?P<option>--[\w-]+(?:(?:,| and)? --[\w-]+)*|[a-z_]+(?:, [a-z_]+)*|[A-Z]+)"
    r"(?: (?P<value>.*))?$",
    re.DOTALL,
)


class UserError(ValueError):
    """Refuse bad input in one line: `OPTION VALUE: RULE; REMEDY`, or `PATH: RULE; REMEDY`.

    `UserError("--budget 5: must be at least 14; give more")` reads the fields from the line, and
    `UserError(option="--budget", value=5, rule="must be at least 14", remedy="give more")`
    composes it.

    Args:
        line: the whole line; then no field is given.
        option: the options or arguments at fault, as typed: `--budget`, `RUN`, `remove, keep`.
        value: what was given for them, or the file at fault.
        rule: what is wrong, or what would be right.
        remedy: what to do.

    Attributes:
        option: as above; empty where a file is at fault, or nothing in particular.
        value: as text; empty where there is none.
        rule: as above.
        remedy: as above; empty where the rule says enough.
    """

    def __init__(
        self,
        line: str = "",
        *,
        option: str = "",
        value: object = "",
        rule: str = "",
        remedy: str = "",
    ) -> None:
        if bool(line) == bool(rule):
            raise TypeError("UserError: give either a line or at least a rule")
        if line:
            option, value, rule, remedy = _fields(line)
        else:
            place = " ".join(part for part in (option, str(value)) if part)
            line = f"{place}: {rule}" if place else rule
            line += f"; {remedy}" if remedy else ""
        super().__init__(line)
        self.option, self.value, self.rule, self.remedy = option, str(value), rule, remedy

    def __reduce__(self) -> tuple[type[UserError], tuple[str], dict[str, str]]:
        """Cross to another process with the fields as they are."""
        return type(self), (str(self),), self.__dict__


class RunFailed(RuntimeError):
    """The input was right, and the run could not be finished."""


def _fields(line: str) -> tuple[str, str, str, str]:
    """Option, value, rule and remedy of a line."""
    place, colon, rest = line.partition(": ")
    if not colon:
        place, rest = "", line
    rule, semicolon, remedy = rest.rpartition("; ")
    if not semicolon:
        rule, remedy = rest, ""
    found = _PLACE.match(place)
    if found is None:
        return "", place, rule, remedy
    return found["option"], found["value"] or "", rule, remedy
