"""Tiny randomly initialised models of many families, so that tests need no network."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 97
_LLAMA_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_GPT_LIKE = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 5,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

_NEOX_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_OPT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "word_embed_proj_dim": 16,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
_FALCON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "ffn_hidden_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_GEMMA = {**_LLAMA_LIKE, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}
_GEMMA3 = {
    **_GEMMA,
    "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"],
}
_BLOOM = {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 5, "n_head": 4}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": _LLAMA_LIKE,
    "mistral": {**_LLAMA_LIKE, "sliding_window": 6},
    "qwen2": _LLAMA_LIKE,
    "qwen3": {**_LLAMA_LIKE, "head_dim": 8},
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA3,
    "gemma3": {
        "text_config": _GEMMA3,
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 8,
            "patch_size": 4,
        },
        "mm_tokens_per_image": 4,
        "image_token_index": 90,
        "boi_token_index": 91,
        "eoi_token_index": 92,
    },
    "phi3": _LLAMA_LIKE,
    "phi": _LLAMA_LIKE,
    "olmo2": _LLAMA_LIKE,
    "smollm3": _LLAMA_LIKE,
    "granite": {**_LLAMA_LIKE, "logits_scaling": 3.0, "residual_multiplier": 0.5},
    "gpt2": _GPT_LIKE,
    "gptj": {**_GPT_LIKE, "rotary_dim": 4},
    "gpt_neox": _NEOX_LIKE,
    "gpt_neox-sequential": {**_NEOX_LIKE, "use_parallel_residual": False},
    "gpt_neo": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_layers": 5,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2], [["global"], 1]],
        "window_size": 6,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "opt": _OPT,
    "opt-norm_after": {**_OPT, "do_layer_norm_before": False},
    "falcon-rotary": _FALCON,
    "falcon-alibi": {**_FALCON, "alibi": True, "parallel_attn": False, "bias": True},
    "falcon-new": {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    "bloom": _BLOOM,
    "bloom-norm_after": {**_BLOOM, "apply_residual_connection_post_layernorm": True},
    "mpt": {
        "vocab_size": VOCABULARY,
        "d_model": 32,
        "n_layers": 5,
        "n_heads": 4,
        "expansion_ratio": 2,
        "max_seq_len": 64,
    },
    "stablelm": _LLAMA_LIKE,
    "stablelm-parallel": {**_LLAMA_LIKE, "use_parallel_residual": True},
    "cohere": _LLAMA_LIKE,
    "mixtral": {**_LLAMA_LIKE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {
        **_LLAMA_LIKE,
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "mlp_only_layers": [1, 3],
    },
    "granitemoeshared": {
        **_LLAMA_LIKE,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 24,
    },
    "deepseek_v3": {
        **_LLAMA_LIKE,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 24,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "q_lora_rank": 16,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "first_k_dense_replace": 1,
        "num_mtp_layers": 0,
    },
    "gpt_oss": {
        **_LLAMA_LIKE,
        "head_dim": 8,
        "sliding_window": 6,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
}
"""Configurations by name: the model type, and after a dash which variant of it."""

STRUCTURES = ("llama", "gpt2", "gpt_neox", "gemma3_text", "mixtral", "falcon-alibi")
"""Six that differ in structure: rotary and gated, learned positions, parallel halves, norms on both
sides with windows of attention, experts, alibi. `tests/decoder/evaluate/test_families.py` proves
that every family is walked right; other tests take these."""

STORED = (
    *STRUCTURES,
    "gemma3",
    "gpt_neo",
    "opt",
    "mpt",
    "phi3",
    "qwen3_moe",
    "deepseek_v3",
    "gpt_oss",
)
"""Those and others whose checkpoints differ in names, in nesting or in how experts are stored."""

REFUSED: dict[str, dict[str, Any]] = {
    "gemma3n_text": {
        **_GEMMA3,
        "num_kv_shared_layers": 2,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 5,
    },
    "gemma4_text": {
        **_GEMMA3,
        "num_kv_shared_layers": 2,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
    },
}
"""Those whose layers use the keys and values of earlier ones."""

AT_THE_DOOR: dict[str, dict[str, Any]] = {
    "gpt_neox_japanese": {
        **{n: v for n, v in _NEOX_LIKE.items() if n != "intermediate_size"},
        "intermediate_multiple_size": 2,
    },
    "bert": _NEOX_LIKE,
    "electra": {**_NEOX_LIKE, "embedding_size": 32},
    "recurrent_gemma": {**_LLAMA_LIKE, "head_dim": 8, "lru_width": 32},
    "jamba": {
        **_LLAMA_LIKE,
        "attn_layer_period": 3,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
}
"""Those that show what is said before anything is measured."""


def tiny_model(family: str, **changes: Any) -> PreTrainedModel:
    """A model of `family` with 5 layers, whose layers really change their input."""
    torch.manual_seed(0)
    settings = (FAMILIES | REFUSED | AT_THE_DOOR)[family]
    config = AutoConfig.for_model(family.partition("-")[0], **{**settings, **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model.requires_grad_(False)
