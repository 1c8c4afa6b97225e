"""Names, sizes and recordings for the tests of the encoders."""

from __future__ import annotations

import numpy as np
import torch
from conftest import noise, tone
from torch import nn

from emotion_omni.omni.encoders import prepare
from emotion_omni.recognition.whisper_encoder import HZ
from emotion_omni.types import Audio

WIDTH = 16  # of the encoders made here


STACK = 5  # frames to a position of the language model


def recording(seconds: float, seed: int = 0) -> np.ndarray:
    """Prepared noise over a hum: nothing in it repeats, so that no two frames are equal."""
    hum = tone(seconds, level=0.05).samples
    return prepare(Audio(hum + noise(seconds, seed=seed).samples, HZ))


def shaken(model: nn.Module) -> nn.Module:
    """Off its starting values, so that no bias of 0 and no scale of 1 hides a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


EVERY = (
    "semantic embedded",
    "emotion embedded",
    "semantic random",
    "emotion random",
    "semantic whisper",
    "semantic large",
    "emotion wav2vec2",
    "emotion wavlm",
    "emotion emotion2vec",
)


STRIDED = EVERY[-3:]  # a frame of theirs sees 400 samples, and none is added at the end


EMOTION2VEC = {
    "depth": 2,
    "num_heads": 2,
    "embed_dim": WIDTH,
    "norm_eps": 1e-5,
    "norm_affine": True,
    "mlp_ratio": 2.0,
    "normalize": True,
    "encoder_dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "post_mlp_drop": 0.1,
    "dropout_input": 0.0,
    "layerdrop": 0.05,
    "layer_norm_first": False,
    "end_of_block_targets": False,
    "average_top_k_layers": 2,
    "clone_batch": 1,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "modalities": {
        "audio": {
            "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] + [(16, 2, 2)]",
            "extractor_mode": "layer_norm",
            "conv_pos_width": 15,
            "conv_pos_groups": 4,
            "conv_pos_depth": 2,
            "conv_pos_pre_ln": False,
            "prenet_depth": 1,
            "prenet_layerdrop": 0.05,
            "prenet_dropout": 0.1,
            "start_drop_path_rate": 0.0,
            "end_drop_path_rate": 0.0,
            "num_extra_tokens": 3,
            "init_extra_token_zero": True,
            "local_grad_mult": 1.0,
            "model_depth": 2,
            "num_alibi_heads": 2,
            "use_alibi_encoder": True,
            "alibi_scale": 1.0,
            "learned_alibi": False,
            "alibi_max_pos": None,
            "learned_alibi_scale": True,
            "learned_alibi_scale_per_head": True,
            "learned_alibi_scale_per_layer": False,
            "mask_prob": 0.5,
            "mask_prob_min": None,
            "mask_length": 5,
            "mask_dropout": 0.0,
            "mask_noise_std": 0.01,
            "inverse_mask": False,
            "add_masks": False,
            "encoder_zero_mask": True,
            "keep_masked_pct": 0.0,
            "mask_channel_prob": 0.0,
            "mask_channel_length": 64,
            "decoder": {
                "decoder_dim": 16,
                "decoder_groups": 4,
                "decoder_kernel": 7,
                "decoder_layers": 2,
                "input_dropout": 0.1,
                "add_positions_masked": False,
                "add_positions_all": False,
                "decoder_residual": True,
                "projection_layers": 1,
                "projection_ratio": 2.0,
            },
        }
    },
}
