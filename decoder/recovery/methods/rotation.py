"""A rotation and a scale of the stream before a cut, folded into all that writes and reads there.

Source: "SliceGPT" (arXiv 2401.15024, theorem 1) for the fold: an RMS norm commutes with
rotations once its gain is in the projections behind it. With X'Y = U S V', the best are Q = U V'
and s = tr S / |X|^2; rows are weighted by 1 / |y|. A tied head is untied, since the embedding turns
and the head does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Cut, Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.places import fits_after
from decoder.recovery.methods.scaling import scales

__all__ = ["METHODS"]


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    if anatomy.head_name is None or not scales(anatomy):
        return "what writes into the residual stream does not turn exactly"
    last = path.cuts[-1].start if path.cuts else 0
    for half in path.before(last):
        if anatomy.norm(half) is None:
            return "a kept half reads the stream otherwise than by projections behind an RMS norm"
    return None


def _best(arriving: list[Tensor], wanted: list[Tensor]) -> tuple[float, Tensor]:
    """The scale s and rotation Q [D, D] of least weighted |s X Q - Y|^2."""
    width = wanted[0].shape[-1]
    cross = torch.zeros(width, width, dtype=torch.float64, device=wanted[0].device)
    square = 0.0
    for x_BTD, y_BTD in zip(arriving, wanted, strict=True):
        x, y = x_BTD.flatten(0, 1).double(), y_BTD.flatten(0, 1).double()
        weight = 1 / y.norm(dim=1, keepdim=True).clamp_min(1e-6)
        x, y = x * weight, y * weight
        cross.addmm_(x.T, y)
        square += float(x.square().sum())
    u, s, vh = torch.linalg.svd(cross)
    return float(s.sum()) / max(square, 1e-30), u @ vh


def _turn(stream: RepairedStream, cut: Cut, scale: float, turn: Tensor) -> None:
    anatomy, before = stream.anatomy, stream.path.before(cut.start)
    for name in anatomy.embeddings:
        stream.values[name] = (scale * stream.value(name).double() @ turn).float()
    norms = {norm.weight: norm for half in before if (norm := anatomy.norm(half)) is not None}
    gains = {name: stream.value(name).double() + norm.offset for name, norm in norms.items()}
    for half in before:
        norm, writer = anatomy.norm(half), anatomy.writer(half)
        assert norm is not None
        assert writer is not None
        for reader in anatomy.readers(half):
            weight = stream.value(reader.weight).double()
            if reader.transposed:
                turned = turn.T @ (gains[norm.weight][:, None] * weight)
            else:
                turned = (weight * gains[norm.weight]) @ turn
            stream.values[reader.weight] = turned.float()
        weight = stream.value(writer.weight).double()
        turned = weight @ turn if writer.transposed else turn.T @ weight
        stream.values[writer.weight] = (scale * turned).float()
        if writer.bias is not None:
            stream.values[writer.bias] = (scale * stream.value(writer.bias).double() @ turn).float()
    for name, norm in norms.items():
        stream.values[name] = torch.full_like(stream.value(name), 1 - norm.offset)


def _run(stream: RepairedStream, then_fit: bool = False) -> None:
    name = stream.anatomy.head_name
    assert name is not None
    head = stream.value(name).clone()
    for cut in stream.path.cuts:
        arriving, wanted = stream.stand(cut)
        scale, turn = _best(arriving, wanted)
        _turn(stream, cut, scale, turn)
        stream.transform((scale * turn).float())
        if then_fit:
            for half in fits_after(stream.path, cut, stream.anatomy):
                stream.fit(half)
    if stream.anatomy.tied:
        stream.values[name] = head


_SOURCE = "scaled Procrustes"
METHODS = (
    Method("rotation", _SOURCE, _refusal, _run, head=True),
    Method(
        "rotation_down_projection",
        f"{_SOURCE}, then the projection after the cut",
        _refusal,
        lambda stream: _run(stream, True),
        head=True,
    ),
)
