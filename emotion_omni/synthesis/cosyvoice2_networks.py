"""The networks of CosyVoice2 behind its speech tokens: flow matching and the HiFT vocoder, built with random weights.

Their classes are those of the package ``cosyvoice-minicpmo`` (Apache-2.0), which is imported when they are built.

Sources: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117); Li et al. 2023, "HiFTNet" (arXiv 2309.09493).
"""

from __future__ import annotations

import importlib
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from emotion_omni.types import EmotionOmniError

HZ = 24_000
TOKENS_PER_SECOND = 25
CODES = 6561  # 3^8, finite scalar quantization
FRAMES = 2  # mel frames of one token
HOP = HZ // (TOKENS_PER_SECOND * FRAMES)  # 480 samples of one mel frame
BANDS = 80
SPEAKER_DIMENSIONS = 192  # of a CAM++ embedding
LOOKAHEAD = 3  # future tokens that the first layer of the flow's encoder reads
MASK_TOKENS = 25  # the flow was trained with attention masks whose chunks end at multiples of this
INSTALL = "pip install --no-deps -r requirements-gpu.txt"


@dataclass(frozen=True)
class Size:
    """What may differ between models; the package fixes the rest. The defaults are those of CosyVoice2-0.5B."""

    encoder_blocks: int = 6
    encoder_units: int = 2048
    flow_channels: int = 256
    flow_blocks: int = 4
    flow_middle: int = 12
    flow_heads: int = 8
    vocoder_channels: int = 512
    pitch_channels: int = 512


PUBLISHED = Size()
SMALL = Size(1, 64, 32, 1, 1, 1, 32, 16)  # for tests: the same classes, as small as the package allows


def check_tokens(tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """→ int64 [N], each a valid code: the special tokens of a language model (eos and the like) are not speech.

    Raises :class:`EmotionOmniError` (code ``speech-token``).
    """
    checked = np.asarray(tokens, np.int64).ravel()
    wrong = checked[(checked < 0) | (checked >= CODES)]
    if len(wrong):
        raise EmotionOmniError(
            f"Speech token {wrong[0]} cannot be spoken; tokens run from 0 to {CODES - 1}. "
            "Stop at the eos token, and leave it out.",
            "speech-token",
        )
    return checked


def build(size: Size, seed: int = 0) -> tuple[Any, Any]:
    """The flow and the vocoder with random weights, in evaluation mode; the global random states are unchanged.

    Raises :class:`EmotionOmniError` (code ``missing-package``) with the command that installs the package.
    """
    with _isolated():
        package = _import_package()
        torch.manual_seed(seed)
        return _flow(package, size).eval(), _hift(package, size).eval()


def _flow(package: SimpleNamespace, size: Size) -> Any:
    """CausalMaskedDiffWithXvec, 112.5 M weights at the published size. The package fixes the widths 512, 80 and 192."""
    encoder = package.UpsampleConformerEncoder(
        input_size=512,
        output_size=512,
        attention_heads=8,
        linear_units=size.encoder_units,
        num_blocks=size.encoder_blocks,
        dropout_rate=0.1,
        positional_dropout_rate=0.1,
        attention_dropout_rate=0.1,
        input_layer="linear",
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn",
        use_cnn_module=False,
        macaron_style=False,
        static_chunk_size=MASK_TOKENS,
    )
    estimator = package.CausalConditionalDecoder(
        in_channels=4 * BANDS,
        out_channels=BANDS,
        channels=[size.flow_channels],
        dropout=0.0,
        attention_head_dim=64,
        n_blocks=size.flow_blocks,
        num_mid_blocks=size.flow_middle,
        num_heads=size.flow_heads,
        act_fn="gelu",
        static_chunk_size=FRAMES * MASK_TOKENS,
        num_decoding_left_chunks=-1,
    )
    flow_matching = SimpleNamespace(
        sigma_min=1e-6,
        solver="euler",
        t_scheduler="cosine",
        training_cfg_rate=0.2,
        inference_cfg_rate=0.7,
        reg_loss_type="l1",
    )
    decoder = package.CausalConditionalCFM(
        in_channels=3 * BANDS, cfm_params=flow_matching, n_spks=1, spk_emb_dim=BANDS, estimator=estimator
    )
    return package.CausalMaskedDiffWithXvec(
        input_size=512,
        output_size=BANDS,
        spk_embed_dim=SPEAKER_DIMENSIONS,
        vocab_size=CODES,
        input_frame_rate=TOKENS_PER_SECOND,
        token_mel_ratio=FRAMES,
        pre_lookahead_len=LOOKAHEAD,
        encoder=encoder,
        decoder=decoder,
    )


def _hift(package: SimpleNamespace, size: Size) -> Any:
    """HiFTGenerator, 20.8 M weights at the published size. 8 · 5 · 3 · 4 = 480 samples a frame."""
    dilations = [[1, 3, 5]] * 3
    return package.HiFTGenerator(
        in_channels=BANDS,
        base_channels=size.vocoder_channels,
        nb_harmonics=8,
        sampling_rate=HZ,
        upsample_rates=[8, 5, 3],
        upsample_kernel_sizes=[16, 11, 7],
        istft_params={"n_fft": 16, "hop_len": 4},
        resblock_kernel_sizes=[3, 7, 11],
        resblock_dilation_sizes=dilations,
        source_resblock_kernel_sizes=[7, 7, 11],
        source_resblock_dilation_sizes=dilations,
        f0_predictor=package.ConvRNNF0Predictor(num_class=1, in_channels=BANDS, cond_channels=size.pitch_channels),
    )


_CLASSES = {
    "UpsampleConformerEncoder": "cosyvoice.transformer.upsample_encoder",
    "CausalMaskedDiffWithXvec": "cosyvoice.flow.flow",
    "CausalConditionalCFM": "cosyvoice.flow.flow_matching",
    "CausalConditionalDecoder": "cosyvoice.flow.decoder",
    "HiFTGenerator": "cosyvoice.hifigan.generator",
    "ConvRNNF0Predictor": "cosyvoice.hifigan.f0_predictor",
}


def _import_package() -> SimpleNamespace:
    """The six classes. Two modules that the package imports but does not need for synthesis are replaced by stubs."""
    logger = ModuleType("matcha.utils.pylogger")  # its package needs lightning, hydra, gdown, wget and matplotlib
    logger.get_pylogger = logging.getLogger  # type: ignore[attr-defined]
    try:
        with _stub(ModuleType("torchaudio")):  # reads files; no release of it fits every torch that we allow
            importlib.import_module("cosyvoice.utils.file_utils")
        with _stub(logger):
            classes = {name: getattr(importlib.import_module(module), name) for name, module in _CLASSES.items()}
    except ImportError as error:
        raise EmotionOmniError(
            f"CosyVoice2's voice needs the package cosyvoice-minicpmo, which cannot be imported ({error}). "
            f"Install the GPU extra from the folder of the repository: {INSTALL}",
            "missing-package",
        ) from error
    return SimpleNamespace(**classes)


@contextmanager
def _stub(module: ModuleType) -> Iterator[None]:
    """An empty module in place of one that is not loaded, while something else is imported."""
    absent = module.__name__ not in sys.modules
    if absent:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        if absent:
            del sys.modules[module.__name__]


@contextmanager
def _isolated() -> Iterator[None]:
    """Undo what the package does globally: it enables debug logging when imported and reseeds all generators."""
    log, silent = logging.getLogger(), logging.NullHandler()
    log.addHandler(silent)  # logging.basicConfig does nothing if there is a handler
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        log.removeHandler(silent)
        random.setstate(python)
        np.random.set_state(numpy)
