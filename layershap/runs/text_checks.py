"""What is wrong with a run's texts although they can be read: said loudly, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from decoder import TextError
from decoder.data.overlap import WINDOW, shared_share
from layershap.errors import UserError
from layershap.runs.config import RunConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["foreign_text", "shared_text", "unknown_tokens"]

_MOST_SHARED = 0.01
_UNKNOWN_TOLD = 0.05
_MOST_UNKNOWN = 0.5


def shared_text(
    config: RunConfig, heldout: Int[np.ndarray, "N"], seen: Int[np.ndarray, "M"], source: str
) -> list[str]:
    """Refuse held-out text that stands in the text that the search sees.

    Args:
        config: of the run; with `--allow-overlap` what would be refused is told instead.
        heldout: token ids of the held-out sequences.
        seen: token ids of all of the calibration text.
        source: what a person calls the held-out text.

    Returns:
        What a person must know, a sentence each.

    Raises:
        UserError: more than a hundredth of the held-out tokens are in passages of both.
    """
    share = shared_share(heldout, seen)
    if share <= _MOST_SHARED:
        return []
    told = f"{max(1, round(100 * share))} % of the held-out text {source} is in the calibration"
    if config.text.allow_overlap:
        return [f"{told} text too: costs on it are too low to be believed."]
    option = "--heldout" if config.text.heldout else "--calibration"
    remedy = (
        "give other text"
        if config.text.heldout
        else "the text repeats itself; give --heldout FILE with other text"
    )
    raise UserError(
        option=option,
        value=source,
        rule=f"{told} text too (passages of {WINDOW} tokens), so nothing is held out",
        remedy=f"{remedy}, or --allow-overlap to measure on it all the same",
    )


def foreign_text(config: RunConfig) -> list[str]:
    """Tell that a model of one's own is judged on text that comes with this package.

    Args:
        config: of the run.

    Returns:
        One sentence, or none where calibration text was given or the model is the embedded one.
    """
    if config.text.calibration or config.model.name is None:
        return []
    return [
        f"No --calibration was given: {config.title} is judged on source files of the Python "
        "library, not on text it is meant for; give --calibration FILE."
    ]


def unknown_tokens(
    tokenizer: PreTrainedTokenizerBase, tokens: Int[np.ndarray, "S T"], source: str
) -> list[str]:
    """Refuse text that the tokenizer hardly knows.

    Args:
        tokenizer: of the model.
        tokens: ids of the sequences.
        source: what a person calls the text.

    Returns:
        What a person must know, a sentence each.

    Raises:
        TextError: more than half of the tokens are unknown ones.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown == tokenizer.eos_token_id:
        return []  # tokenizers of bytes know everything, and name one of their own tokens here
    share = float((tokens == unknown).mean())
    if share > _MOST_UNKNOWN:
        raise TextError(
            f"text {source}: {100 * share:.0f} % of its tokens are unknown to the tokenizer "
            f"({tokenizer.unk_token}); give text in the model's language, or the model's own "
            "tokenizer beside the weights"
        )
    if share > _UNKNOWN_TOLD:
        return [f"{100 * share:.0f} % of the tokens of {source} are unknown to the tokenizer."]
    return []
