"""What a run directory may ask for that runs code or talks to a network: only what was typed here.

A `run.toml` may come from somebody else. That it names a model whose own code shall run, or a
cluster to connect to, is believed only where the same was typed on this machine for the same
directory; a record of that lies outside of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from layershap.errors import UserError
from layershap.files import json_text, write_whole

__all__ = ["Wish"]

_MOST_KEPT = 1000


class Wish:
    """What a run wants that is not harmless.

    Attributes:
        directory: of the run.
        asked: what it wants, for people; empty where all is harmless.
    """

    def __init__(
        self,
        directory: Path,
        model: str,
        sources: Sequence[str | None],
        code: bool,
        address: str | None,
    ) -> None:
        self.directory = directory
        self.asked = [f"to run the own code of model {model}"] if code else []
        self.asked += [f"to connect to the cluster at {address}"] if address else []
        facts = [model, *sources, address] if code else [address]
        self._key = str(directory.expanduser().resolve())
        self._digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def trusted(self) -> bool:
        """Whether exactly this was typed for this directory."""
        return not self.asked or self._digest in _typed or _known().get(self._key) == self._digest

    def record(self) -> None:
        """Remember that a person typed it; for this process alone where nothing can be written."""
        if self.trusted:
            return
        _typed.add(self._digest)
        known = dict(list(_known().items())[1 - _MOST_KEPT :])
        try:
            _record().parent.mkdir(parents=True, exist_ok=True)
            write_whole(_record(), json_text({**known, self._key: self._digest}))
        except OSError:
            return

    def refuse_untyped(self) -> None:
        """Refuse what nobody typed here.

        Raises:
            UserError: it names what the directory asks for and how to allow it.
        """
        if not self.trusted:
            raise UserError(
                f"{self.directory / 'run.toml'}: asks {' and '.join(self.asked)}, which nobody "
                "typed on this machine for this directory; look at it, and if you trust it allow "
                f"it with: layershap trust {shlex.quote(str(self.directory))}"
            )


_typed: set[str] = set()


def _record() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "layershap" / "trusted.json"


def _known() -> dict[str, str]:
    try:
        found = json.loads(_record().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}
