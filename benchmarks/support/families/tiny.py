"""A tiny random model of any family, made from the default configuration of its own class.

Sizes are told by the names that configurations give them, and what does not fit together is listed
by model type in `TOGETHER`. The depth is the same everywhere, and lists of one entry a layer are
cut so that every kind of layer is still there.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

__all__ = [
    "DEPTH",
    "TOGETHER",
    "VOCABULARY",
    "families",
    "tiny_config",
    "tiny_model",
]

DEPTH = 6
VOCABULARY = 160

_SIZES: tuple[tuple[str, Any], ...] = (
    (r"vocab_size|vocab_size_per_layer_input|unpadded_vocab_size", VOCABULARY),
    (r"num_hidden_layers|n_layers?|num_layers|num_decoder_layers|decoder_layers", DEPTH),
    (r"num_encoder_layers|encoder_layers", DEPTH),
    (r"depth|vision_layers|num_layers_per_stack", 2),
    (r"hidden_size|d_model|n_embd|emb_dim|embed_dim|embedding_size|dim|width|lru_width", 32),
    (r"output_embedding_size|input_embedding_size|word_embed_proj_dim|attention_hidden_size", 32),
    (
        r"\w*intermediate_size\w*|\w*ffn_dim|d_inner|dff|dim_ff|feed_forward_size|ffn_hidden_size",
        48,
    ),
    (r"expert_ffn_hidden_size|prompt_mid_dim", 24),
    (r"num_key_value_heads|num_kv_heads|num_query_groups|swa_num_key_value_heads", 2),
    (r"global_head_dim|num_global_key_value_heads", None),
    (r"num_attention_heads|n_heads?|num_heads|(en|de)coder_attention_heads|attention_heads", 4),
    (r"num_(en|de)coder_attention_heads|swa_num_attention_heads|index_n_heads", 4),
    (r"head_dim|swa_head_dim|d_head|dim_head|kv_channels|attention_head_size|index_head_dim", 8),
    (r"v_head_dim|qk_nope_head_dim|query_pre_attn_scalar", 8),
    (r"qk_rope_head_dim|rotary_dim", 4),
    (r"qk_head_dim", 12),
    (r"q_lora_rank|o_lora_rank", 16),
    (r"kv_lora_rank|laurel_rank|hidden_size_per_layer_input|gated_norm_rank|hc_lowrank", 8),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|max_target_positions", 128),
    (r"model_max_length|context_length|original_max_position_embeddings", 128),
    (r"max_source_positions", 16),
    (r"sliding_window|sliding_window_size|window_size|attention_window_size|local_attention", 6),
    (r"attention_chunk_size|local_attention_window_len|keep_window_size", 6),
    (r"n_routed_experts|num_experts|num_local_experts|moe_num_experts", 4),
    (r"num_experts_per_tok(en)?|moe_k|moe_topk", 2),
    # Longer than the text: the scores that sparse attention chooses by tie in tiny models.
    (r"index_topk|index_topk_blocks", 64),
    (r"n_group|num_expert_group", 2),
    (r"topk_group", 1),
    (r"n_shared_experts|num_shared_experts|moe_num_shared_experts|zero_expert_num", 1),
    (r"(mamba_)?d_state|mamba_d_state|ssm_state_size|state_size", 8),
    (r"mamba_n_heads|mamba_num_heads|n_mamba_heads|linear_num_value_heads|linear_num_heads", 4),
    (r"mamba_d_head|mamba_head_dim|mamba_headdim", 16),
    (r"mamba_n_groups|mamba_ngroups|n_groups|linear_num_key_heads", 2),
    (r"linear_key_head_dim|linear_value_head_dim|linear_head_dim", 8),
    (r"mamba_d_ssm", 64),
    (r"mamba_dt_rank|time_step_rank|adapter_rank", 4),
    (r"(mamba_)?chunk_size|block_size|index_block_size|mamba_chunk_size", 8),
    (r"global_attn_every_n_layers|layer_group_size|sliding_window_pattern", 3),
    (r"attn_layer_period|no_rope_layer_interval", 3),
    (r"attn_layer_offset", 1),
    (r"expert_layer_period|interleave_moe_layer_step|decoder_sparse_step", 2),
    (r"first_k_dense_replace|num_dense_layers", 1),
    (r"max_window_layers", 3),
    (r"image_size", 8),
    (r"patch_size", 4),
    (r"num_mel_bins", 8),
)
_OFTEN_LEFT_OUT = ("head_dim", "num_key_value_heads")
_NO_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")

_QWEN4 = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}

TOGETHER: dict[str, dict[str, Any]] = {
    "blt": {
        "patcher_config": {"vocab_size": 260, "hidden_size": 32},
        "encoder_hash_byte_group_vocab": 200,
    },
    "gemma3n_text": {
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "activation_sparsity_pattern": [0.0] * 6,
    },
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "rope_parameters": {
            "full_attention": None,
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 1, 1],
            },
        },
    },
    "bamba": {"attn_layer_indices": [1, 4]},
    # Cached decoding beyond the window is not the plain forward's in transformers 5.23.
    "doge": {"keep_window_size": 64},
    "moshi": {"sliding_window": 64},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 3},
    "nemotron_h": {"layers_block_type": ["linear_attention", "moe", "full_attention"] * 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "qwen4_exp_text": _QWEN4,
    "qwen4_exp": {"text_config": _QWEN4},
    "deepseek_v2": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"] * 2},
    "mamba2": {"num_heads": 8},
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "reformer": {"is_decoder": True, "axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16]},
    "xlm": {"use_lang_emb": False},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", *["hybrid"] * 4, "linear_attention"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {"attention_hidden_size": 64, "attention_head_dim": 16},
    "zaya": {"num_experts_per_tok": 1},
}
"""What else a family needs to be built so small, by model type."""


def families() -> dict[str, str]:
    """The class of every decoder that transformers loads by its model type, sorted by it."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as names

    return dict(sorted(names.items()))


def tiny_config(kind: str) -> Any:
    """The configuration of a tiny model.

    Args:
        kind: model type.
    """
    from transformers import CONFIG_MAPPING

    return _shrunk(CONFIG_MAPPING[kind], TOGETHER.get(kind, {}))


def tiny_model(kind: str) -> Any:
    """A tiny model whose layers really change their input.

    Args:
        kind: model type.
    """
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(kind), dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model.requires_grad_(False)


def _shrunk(kind: type, together: dict[str, Any]) -> Any:
    default = kind()
    settings = _sizes(default)
    if getattr(default, "is_decoder", None) is False:  # BERT and its kin, which look ahead else
        settings["is_decoder"] = True
    for name, value in vars(default).items():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            inner = together.get(name, {})
            settings[name] = _plain(_shrunk(type(value), inner if isinstance(inner, dict) else {}))
    settings |= {n: v for n, v in together.items() if not isinstance(settings.get(n), dict)}
    depth = _depth(default)
    if depth is not None:
        for name, value in vars(default).items():
            stale = isinstance(value, list | tuple) and len(value) == depth != DEPTH
            if stale and name not in settings and _fixed(kind, settings, name):
                settings[name] = _cut(value)
    return kind(**settings)


def _fixed(kind: type, settings: dict[str, Any], name: str) -> bool:
    """Whether a list of one entry a layer does not follow the depth by itself."""
    try:
        return len(getattr(kind(**settings), name)) != DEPTH
    except Exception:  # a configuration that refuses stale lists
        return True


def _plain(config: Any) -> dict[str, Any]:
    return config.to_dict()


def _depth(config: Any) -> int | None:
    for name in ("num_hidden_layers", "num_layers", "decoder_layers"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def _sizes(default: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    special = VOCABULARY - 1
    for name, value in vars(default).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if name in _NO_TOKENS:
            if value is not None:
                found[name] = int(name == "pad_token_id")
        elif name.endswith(("_token_id", "_token_index")) and isinstance(value, int):
            found[name], special = special, special - 1
        elif isinstance(value, int) or value is None:
            size = next((s for rule, s in _SIZES if re.fullmatch(rule, name)), value)
            if size is not None and (value is not None or name in _OFTEN_LEFT_OUT):
                found[name] = size
    if (
        "qk_rope_head_dim" in found
    ):  # latent attention: no head is shared, the head is the rotary part
        found |= {n: found["qk_rope_head_dim"] for n in ("head_dim",) if n in found}
        found |= {n: 4 for n in ("num_key_value_heads",) if n in found}
    return found


def _cut(values: Any) -> Any:
    """As many entries as there are layers, with every kind among them if there is room."""
    kinds = {str(value) for value in values}
    first = values[:DEPTH]
    if len({str(value) for value in first}) < min(len(kinds), DEPTH):
        places = np.linspace(0, len(values) - 1, DEPTH).astype(int)
        first = type(values)(values[i] for i in places)
    return first
