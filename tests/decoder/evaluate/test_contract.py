"""The model as it is measured keeps the contract of evaluators, however it is walked."""

from __future__ import annotations

import pytest

from decoder import MaskedModel, TokenText, Workload, make_roster
from sampling import enumerate_all
from tests.support.contracts.evaluator import EvaluatorContract
from tests.support.tiny_models import tiny_model
from tests.support.workload_samples import task, text

TEXT = text(3, 10)


class TestMaskedModel(EvaluatorContract):
    @pytest.fixture(scope="class", params=[("layers", "depth"), ("sublayers", "breadth")])
    @classmethod
    def evaluator(cls, request):
        kind, walk = request.param
        workload = Workload(TokenText(TEXT.tokens, "random"), (task(),))
        model = tiny_model("llama")
        return MaskedModel(model, workload, roster=make_roster(kind, 5), walk=walk)

    @pytest.fixture
    def columns(self):
        scored = {name: 3 for name in ("nll", "kl", "top1")}
        return scored | {f"toy.{name}": 2 for name in ("acc", "acc_norm", "margin")}

    @pytest.fixture
    def coalitions(self, evaluator):
        rows = enumerate_all(len(evaluator.players))
        return rows[:: len(rows) // 16]
