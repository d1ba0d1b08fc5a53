"""What one family does from its files to a smaller checkpoint, held against plain forwards.

The plain forward of a model without some layers is the whole model's own, with these layers made to
return what they are given; without some halves, with the weights of these halves made zero. Neither
goes through the walk that is checked.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decoder.errors import ModelError

__all__ = ["checked"]

_LIMIT = 1e-4
_SETS = ((0, 3), (1, 2, 4, 5))
_HALVES = ("L0.mlp,L1.attn,L2.attn", "3,L4.mlp")


def checked(kind: str, folder: Path) -> dict[str, Any]:
    """Try a family as a person would.

    Args:
        kind: model type.
        folder: empty, for checkpoints.

    Returns:
        by step ("built", "door", "layers", "halves", "export", "export halves") one text: "exact",
        "refused: WHY", "off: BY HOW MUCH" or "error: WHAT".
    """
    found: dict[str, Any] = {"family": kind}

    def step(name: str, work: Any) -> bool:
        try:
            found[name] = work() or "exact"
        except ModelError as error:
            found[name] = f"refused: {error}"
        except Exception as error:  # what the sweep is about
            lines = " ".join(str(error).split())
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            found[name] = f"error: {type(error).__name__}: {lines[:300]} ({where})"
        return found[name] == "exact"

    tried = _Tried(kind, folder)
    if not step("built", tried.build):
        return found
    if not step("door", tried.open):
        return found
    if not step("layers", tried.measure_layers) and found["layers"].startswith("refused"):
        return found
    if tried.unexportable:
        found["export"] = f"refused: {tried.unexportable}"
    else:
        step("export", tried.export_layers)
    if step("halves", tried.measure_halves) and not tried.unexportable:
        step("export halves", tried.export_halves)
    return found


class _Tried:
    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        rows = np.random.default_rng(0).integers(4, 120, size=(2, 16))
        self.tokens, self.ids = rows, torch.from_numpy(rows)

    def build(self) -> str | None:
        from benchmarks.support.families.tiny import VOCABULARY, tiny_model
        from layershap.demo.tokenizer import train_tokenizer

        model = tiny_model(self.kind)
        whole = model(input_ids=self.ids, use_cache=False).logits
        if not whole.isfinite().all():
            return "error: the tiny model's logits are not finite"
        model.save_pretrained(self.folder / "whole")
        tokenizer = train_tokenizer(["some text, any text"], VOCABULARY, 64)
        tokenizer.save_pretrained(self.folder / "whole")
        self.whole = whole
        return None

    def open(self) -> None:
        from decoder import ModelSpec, load_model
        from decoder.checkpoint.inspect import skeleton
        from decoder.surgery.door import Unexportable, check_structure, rehearse

        self.spec = ModelSpec(str(self.folder / "whole"))
        self.model = load_model(self.spec)
        self.unexportable, self.stays = None, ()
        try:
            self.stays = check_structure(skeleton(self.spec))
            rehearse(self.model, self.stays)
        except Unexportable as error:
            self.unexportable = str(error)

    def measure_layers(self) -> str | None:
        from decoder import MaskedModel, find_stack

        masked = MaskedModel(self.model, self.tokens)
        depth = len(find_stack(self.model))
        if depth != 6:
            return f"error: {depth} layers found"
        self._same_whole()
        sets = [(), *_SETS, tuple(range(6))]
        kept = np.array([[i not in gone for i in range(6)] for gone in sets])
        nll = masked.measure(kept)["nll"]
        wanted = []
        for gone in sets:
            with bypassed(self.model, gone):
                wanted.append(losses(self._logits(self.model), self.ids))
        return off(nll, np.array(wanted))

    def measure_halves(self) -> str | None:
        from decoder import MaskedModel, make_roster

        roster = make_roster("sublayers", 6)
        masked = MaskedModel(self.model, self.tokens, roster=roster)
        sets = [(), *(roster.find(text) for text in _HALVES)]
        kept = np.array([[i not in gone for i in range(12)] for gone in sets])
        nll = masked.measure(kept)["nll"]
        wanted = [losses(self._without(roster, gone), self.ids) for gone in sets]
        return off(nll, np.array(wanted))

    def export_layers(self) -> str | None:
        from decoder.surgery.edit import Remove

        worst = None
        for number, gone in enumerate(self._sets()):
            with bypassed(self.model, gone):
                wanted = self._logits(self.model)
            worst = self._export(f"layers{number}", [Remove(i) for i in gone], wanted) or worst
        return worst

    def _kinds(self) -> list[str]:
        text = self.model.config.get_text_config(decoder=True)
        return list(getattr(text, "layer_types", None) or ["layer"] * 6)

    def _sets(self) -> list[tuple[int, ...]]:
        """Sets to remove, without the last layer of a kind: a hybrid needs one that attends."""
        kinds, found = self._kinds(), []
        for gone in _SETS:
            left = [i for i in range(6) if i not in gone or i in self.stays]
            for kind in dict.fromkeys(kinds):
                if kind not in [kinds[i] for i in left]:
                    left.append(kinds.index(kind))
            found.append(tuple(i for i in range(6) if i not in left))
        return [gone for gone in found if gone]

    def _halves(self, gone: Sequence[int]) -> list[int]:
        """The same for halves: two a layer, its attention first."""
        kinds, stay = self._kinds(), set(self.stays)
        for kind in dict.fromkeys(kinds):
            if all(2 * i in gone for i in range(6) if kinds[i] == kind):
                stay.add(kinds.index(kind))
        return [player for player in gone if player // 2 not in stay]

    def export_halves(self) -> str | None:
        from decoder import load_model, make_roster
        from decoder.surgery.plan import plan_edits

        roster, worst = make_roster("sublayers", 6), None
        for number, text in enumerate(_HALVES):
            gone = self._halves(roster.find(text))
            plan = plan_edits(roster, gone, lambda: load_model(self.spec))
            wanted = self._without(roster, gone)
            worst = self._export(f"halves{number}", plan.edits, wanted) or worst
        return worst

    def _export(self, name: str, edits: Sequence[Any], wanted: Tensor) -> str | None:
        from transformers import AutoModelForCausalLM

        from decoder.surgery.export import write

        path = self.folder / name
        write(self.spec, edits, path, self.tokens)
        loaded: Any = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
        model, told = loaded
        wrong = {k: sorted(map(str, v))[:2] for k, v in told.items() if v}
        if wrong:
            return f"off: stock transformers reports {wrong}"
        model = model.eval()
        found = self._logits(model)
        first = off(losses(found, self.ids), losses(wanted, self.ids))
        return first or _cached(model, self.ids, found)

    @torch.no_grad()
    def _logits(self, model: Any) -> Tensor:
        return model(input_ids=self.ids, use_cache=False).logits.float()

    def _same_whole(self) -> None:
        by = float((self._logits(self.model) - self.whole).abs().max())
        if by > _LIMIT:
            raise ModelError(f"stock transformers reloads the whole model off by {by:.1e}")

    def _without(self, roster: Any, gone: Sequence[int]) -> Tensor:
        from decoder import load_model
        from decoder.surgery.delete import half_weights

        model = load_model(self.spec)
        for weight in half_weights(model, roster.removed_halves(gone)):
            weight.data.zero_()
        with bypassed(model, roster.removed_layers(gone)):
            return self._logits(model)


@contextmanager
def bypassed(model: Any, layers: Sequence[int]) -> Iterator[None]:
    """Within this context some layers return the hidden states that they are given.

    Args:
        model: a whole model.
        layers: which layers.
    """
    from decoder import find_stack

    stack = find_stack(model).layers
    chosen = [stack[i] for i in layers]
    for layer in chosen:
        layer.forward = _hands_on(layer)
    try:
        yield
    finally:
        for layer in chosen:
            del layer.forward


def _hands_on(layer: nn.Module) -> Any:
    real = layer.forward
    first = next(iter(inspect.signature(real).parameters))

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else kwargs[first]
        given = given.clone()  # some layers add to it in place
        output = real(*args, **kwargs)
        return given if isinstance(output, Tensor) else (given, *output[1:])

    return forward


def losses(logits_BTV: Tensor, ids_BT: Tensor) -> np.ndarray:
    """Mean negative log-likelihood of each sequence, in nats a token.

    Args:
        logits_BTV: of a model.
        ids_BT: the tokens that it was given.
    """
    log = logits_BTV[:, :-1].double().log_softmax(-1)
    return -log.gather(2, ids_BT[:, 1:, None])[..., 0].mean(1).numpy()


def off(found: np.ndarray, wanted: np.ndarray) -> str | None:
    """Say by how much losses differ; None where they are the same."""
    by = float(np.abs(found - wanted).max())
    return None if by <= _LIMIT else f"off: losses by {by:.1e}"


def _cached(model: Any, ids: Tensor, plain: Tensor) -> str | None:
    """Say by how much greedy tokens of `generate` with a cache are not the likeliest without."""
    prompt = ids[:1, :8]
    out = []
    for cache in (True, False):
        out.append(
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=6,
                do_sample=False,
                use_cache=cache,
                eos_token_id=None,
                pad_token_id=0,
                return_dict_in_generate=True,
                output_logits=True,
            )
        )
    same = torch.equal(out[0].sequences, out[1].sequences)
    by = float((torch.stack(out[0].logits) - torch.stack(out[1].logits)).abs().max())
    scale = max(1.0, float(plain.abs().max()))
    if same and by <= _LIMIT * scale:
        return None
    return f"off: generate with a cache by {by / scale:.1e}"
