"""The training loop goes on bit for bit, is seeded, and refuses what is not its checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from decoder.training import checkpoint
from decoder.training.checkpoint import DamagedCheckpoint, checkpoint_step, restore, save
from decoder.training.loop import Progress, TrainingSettings, rate_at, train

SETTINGS = TrainingSettings(steps=7, warmup=2, every=3, report_every=1, seed=5)


class Stopped(Exception):
    """Takes the place of a kill."""


def new_model(width: int = 16) -> LlamaForCausalLM:
    """A tied model with dropout, so that a step's own random numbers matter."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=40, max_position_embeddings=16,
        tie_word_embeddings=True, attention_dropout=0.2,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return LlamaForCausalLM(config)


def new_optimisers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=0.02, momentum=0.9),
        torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.95)),
    ]


def batch(step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 + step)
    return torch.randint(0, 40, (3, 12), generator=generator)


def trained(
    file: Path, settings: TrainingSettings = SETTINGS, stop_after: int | None = None
) -> tuple[LlamaForCausalLM, list[Progress]]:
    """Train a new model from the file on, and stop in the report of a step."""
    model, reports = new_model(), []

    def report(progress: Progress) -> None:
        reports.append(progress)
        if progress.step == stop_after:
            raise Stopped

    def evaluate() -> float:
        assert not model.training
        return model(input_ids=batch(99), labels=batch(99)).loss.item()

    train(
        model, new_optimisers(model), batch, settings, file, evaluate=evaluate, report=report
    )  # fmt: skip
    return model, reports


def told(reports: list[Progress]) -> dict[int, tuple[float, float, float | None]]:
    return {report.step: (report.loss, report.rate, report.evaluation) for report in reports}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, torch.Tensor], list[Progress], Path]:
    """A training that nothing stopped: its weights, reports and last checkpoint."""
    file = tmp_path_factory.mktemp("whole") / "checkpoint.safetensors"
    model, reports = trained(file)
    return model.state_dict(), reports, file


def assert_same_end(model: LlamaForCausalLM, file: Path, whole) -> None:
    weights, _, unstopped = whole
    assert all(torch.equal(weights[name], found) for name, found in model.state_dict().items())
    assert file.read_bytes() == unstopped.read_bytes()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("stop", range(1, 8))
def test_goes_on_bit_for_bit_after_any_step(tmp_path, whole, stop, every):
    file = tmp_path / "c.safetensors"
    settings = dataclasses.replace(SETTINGS, every=every)
    with pytest.raises(Stopped):
        trained(file, settings, stop_after=stop)
    last = (stop - 1) // every * every
    assert (checkpoint_step(file) if file.exists() else 0) == last
    model, reports = trained(file, settings)
    assert [report.step for report in reports] == list(range(last + 1, 8))
    losses = {step: entry[0] for step, entry in told(whole[1]).items()}
    assert all(report.loss == losses[report.step] for report in reports)
    assert_same_end(model, file, whole)


@pytest.mark.parametrize("when", ["in the middle of writing", "before the name"])
def test_goes_on_bit_for_bit_after_a_kill_inside_a_checkpoint(tmp_path, whole, when, monkeypatch):
    file = tmp_path / "c.safetensors"
    written = 0

    def stopping(tensors, path, metadata):
        nonlocal written
        written += 1
        save_file(tensors, path, metadata=metadata)
        if written == 2:
            if when == "in the middle of writing":
                os.truncate(path, path.stat().st_size // 2)
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", stopping)
        with pytest.raises(Stopped):
            trained(file)
    assert checkpoint_step(file) == 3
    assert_same_end(trained(file)[0], file, whole)
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


@pytest.mark.slow
def test_goes_on_bit_for_bit_after_real_kills(tmp_path, whole):
    file = tmp_path / "c.safetensors"
    program = textwrap.dedent(f"""
        import dataclasses, time
        from pathlib import Path
        from tests.decoder.training import test_loop as t
        t.train(m := t.new_model(), t.new_optimisers(m), t.batch,
                dataclasses.replace(t.SETTINGS, every=1), Path({str(file)!r}),
                report=lambda progress: (print(progress.step, flush=True), time.sleep(0.05)))
    """)
    for wait in (0.02, 0.06):
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(wait)
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    assert_same_end(trained(file)[0], file, whole)


def test_a_finished_training_has_nothing_to_do(tmp_path, whole):
    weights, _, file = whole
    model = new_model()
    assert train(model, new_optimisers(model), batch, SETTINGS, file) == 0
    assert all(torch.equal(weights[name], found) for name, found in model.state_dict().items())


def test_numbers_follow_from_the_seed_alone(tmp_path, whole):
    torch.manual_seed(12345)
    torch.rand(7)
    assert told(trained(tmp_path / "same")[1]) == told(whole[1])
    other = trained(tmp_path / "other", dataclasses.replace(SETTINGS, seed=6))[1]
    assert all(a.loss != b.loss for a, b in zip(other, whole[1], strict=True))


def test_random_numbers_of_the_caller_are_left_alone(tmp_path):
    model = new_model()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(model, new_optimisers(model), batch, SETTINGS, tmp_path / "c")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_step_is_the_optimisers_own(tmp_path):
    """One step equals the same step written by hand: rate, clipping and both optimisers."""
    settings = TrainingSettings(steps=1, warmup=4, decay=0.5, clip=0.01, seed=2)
    model = new_model()
    model.config._attn_implementation = "sdpa"
    expected = copy.deepcopy(model)
    for module in (*model.modules(), *expected.modules()):
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    train(model, new_optimisers(model), batch, settings, tmp_path / "c")
    optimisers = new_optimisers(expected)
    expected(input_ids=batch(0), labels=batch(0)).loss.backward()
    assert torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.01) > 0.01
    for optimiser in optimisers:
        optimiser.param_groups[0]["lr"] /= 4
        optimiser.step()
    pairs = zip(model.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(made, by_hand) for made, by_hand in pairs)


def test_learning_rate_rises_stays_and_falls():
    settings = TrainingSettings(steps=20, warmup=4, decay=0.5)
    rates = [rate_at(step, settings) for step in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[10:] == pytest.approx([(20 - step) / 10 for step in range(10, 20)])


def test_reports_come_in_their_turn_and_evaluations_with_checkpoints(tmp_path):
    settings = dataclasses.replace(SETTINGS, report_every=2)
    reports = trained(tmp_path / "c", settings)[1]
    assert [report.step for report in reports] == [2, 3, 4, 6, 7]
    assert [r.step for r in reports if r.evaluation is not None] == [3, 6, 7]


def test_training_learns(tmp_path):
    settings = TrainingSettings(steps=60, warmup=5, every=30)
    model, reports = new_model(), []
    train(
        model, new_optimisers(model), lambda step: batch(0), settings, tmp_path / "c",
        report=reports.append,
    )  # fmt: skip
    assert reports[-1].loss < reports[0].loss - 0.5


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"warmup": 0}, {"every": 0}, {"decay": 0.0}, {"clip": -1.0}]
)
def test_settings_that_cannot_be_meant_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        TrainingSettings(**{"steps": 5, **changes})


def header_cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def tail_cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("no checkpoint\n" * 50)


def weights_alone(file: Path) -> None:
    save_file(load_file(file), file)


def header_broken(file: Path) -> None:
    save_file(load_file(file), file, metadata={"training": '{"step": 3'})


def header_of_another_form(file: Path) -> None:
    save_file(load_file(file), file, metadata={"training": '{"step": 3, "optimisers": []}'})


def directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage",
    [header_cut, tail_cut, emptied, text, weights_alone, header_broken, header_of_another_form,
     directory],
)  # fmt: skip
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, whole, damage):
    file = tmp_path / "c.safetensors"
    file.write_bytes(whole[2].read_bytes())
    damage(file)
    model = new_model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(DamagedCheckpoint) as refused:
        train(model, new_optimisers(model), batch, SETTINGS, file)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(f"{file}: ")
    assert "remove it" in line
    assert all(torch.equal(before[name], found) for name, found in model.state_dict().items())


def test_the_checkpoint_of_another_model_or_optimiser_is_refused(whole):
    file = whole[2]
    with pytest.raises(DamagedCheckpoint, match=r"another model .* shape"):
        restore(file, new_model(width=32))
    with pytest.raises(DamagedCheckpoint, match="not in both"):
        restore(file, torch.nn.Linear(2, 2))
    model = new_model()
    with pytest.raises(DamagedCheckpoint, match="2 optimisers, not 1"):
        restore(file, model, new_optimisers(model)[:1])
    with pytest.raises(DamagedCheckpoint, match="another model or optimiser"):
        restore(file, model, new_optimisers(model)[::-1])


def test_a_checkpoint_holds_all_that_the_optimisers_keep(tmp_path, whole):
    model = new_model()
    optimisers = new_optimisers(model)
    assert restore(whole[2], model, optimisers) == SETTINGS.steps
    groups = [optimiser.param_groups[0] for optimiser in optimisers]
    assert [group["initial_lr"] for group in groups] == [0.02, 4e-3]
    assert groups[1]["betas"] == (0.9, 0.95)
    assert all("momentum_buffer" in entry for entry in optimisers[0].state.values())
    assert {float(entry["step"]) for entry in optimisers[1].state.values()} == {7.0}
    save(tmp_path / "again", model, optimisers, SETTINGS.steps)
    assert (tmp_path / "again").read_bytes() == whole[2].read_bytes()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, whole):
    file = tmp_path / "c.safetensors"
    file.write_bytes(whole[2].read_bytes())
    (tmp_path / "c.safetensors.part").mkdir()
    with pytest.raises(OSError, match=r"c\.safetensors\.part"):
        save(file, new_model(), [], 1)
    assert file.read_bytes() == whole[2].read_bytes()
