"""A randomly initialised Llama as a checkpoint, written without ever holding it in memory."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

__all__ = ["write_checkpoint"]


def write_checkpoint(
    directory: Path,
    *,
    width: int,
    mlp_width: int,
    layers: int,
    heads: int,
    vocabulary: int,
    context: int,
    seed: int = 0,
) -> int:
    """Write one shard a layer and one for the rest; float32.

    Returns:
        bytes of the weights.
    """
    directory.mkdir(parents=True, exist_ok=True)
    LlamaConfig(
        hidden_size=width,
        intermediate_size=mlp_width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocabulary,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    ).save_pretrained(directory)
    rest = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (vocabulary, width),
    }
    projections = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (width, width),
        "self_attn.v_proj": (width, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (mlp_width, width),
        "mlp.up_proj": (mlp_width, width),
        "mlp.down_proj": (width, mlp_width),
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
    }
    generator = torch.Generator().manual_seed(seed)
    where: dict[str, str] = {}
    total = 0
    for number in range(layers + 1):
        shapes = rest
        if number < layers:
            prefix = f"model.layers.{number}"
            shapes = {f"{prefix}.{name}.weight": shape for name, shape in projections.items()}
        weights = {
            name: torch.ones(shape)
            if len(shape) == 1
            else torch.randn(shape, generator=generator).mul_(1.5 / shape[1] ** 0.5)
            for name, shape in shapes.items()
        }
        file = f"model-{number + 1:05d}-of-{layers + 1:05d}.safetensors"
        save_file(weights, directory / file, metadata={"format": "pt"})
        where |= dict.fromkeys(weights, file)
        total += sum(weight.nbytes for weight in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return total
