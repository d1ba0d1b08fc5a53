"""What else belongs to a checkpoint: processor files, chat templates, licence, access rights."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

from decoder.model.loading import ModelSpec

__all__ = ["copy_companions", "open_to_others"]

_KINDS = (
    *("*processor*.json", "*feature_extractor*.json", "chat_template*"),
    *("tokenizer.model", "*.tiktoken", "*.spm"),
    *("licen[cs]e*", "copying*", "notice*", "*use_policy*"),
)


def copy_companions(spec: ModelSpec, checkpoint: Path) -> tuple[str, ...]:
    """Copy what stands beside the original's weights and is no model's or tokenizer's to write.

    Files that the checkpoint has already stay as they are. Code is copied only where it may run.

    Args:
        spec: the original; of a hub model, what cannot be fetched is left out.
        checkpoint: the directory that was written.

    Returns:
        Names of the copied files.
    """
    kinds = (*_KINDS, "*.py") if spec.trust_remote_code else _KINDS
    folder, copied = Path(spec.name), []
    names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else _listed(spec)
    for name in sorted(names):
        if (checkpoint / name).exists() or not any(fnmatch(name.lower(), k) for k in kinds):
            continue
        source = folder / name if folder.is_dir() else _fetched(spec, name)
        if source is not None:
            shutil.copyfile(source, checkpoint / name)
            copied.append(name)
    return tuple(copied)


def open_to_others(folder: Path) -> None:
    """Give every file of a directory the mode that any new file has (safetensors uses 0600).

    Args:
        folder: whose files.
    """
    probe = folder / ".mode"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)


def _listed(spec: ModelSpec) -> list[str]:
    from huggingface_hub import list_repo_files

    try:
        return [n for n in list_repo_files(spec.name, revision=spec.revision) if "/" not in n]
    except Exception:  # without the hub there is nothing to copy; the client has many kinds
        return []


def _fetched(spec: ModelSpec, name: str) -> Path | None:
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(spec.name, name, revision=spec.revision)
    except Exception:  # as above
        return None
    return None if found is None else Path(found)
