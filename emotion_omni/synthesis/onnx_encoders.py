"""CosyVoice2's two ONNX networks that read speech: the speech tokenizer and the speaker encoder.

Both run on the CPU and are opened at their first use. Used to make the voice of a folder and the speech tokens of a
training set, not while speaking.

Axes: N tokens, T mel frames. Source: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from emotion_omni import audio
from emotion_omni.synthesis.cosyvoice2_folder import existing
from emotion_omni.synthesis.cosyvoice2_networks import check_tokens
from emotion_omni.types import Audio, EmotionOmniError

ENCODER_HZ = 16_000  # both were trained at this rate
MAX_SECONDS = 30.0  # the speech tokenizer's window


class OnnxEncoder:
    """One ONNX file of CosyVoice2. Raises :class:`EmotionOmniError` (code ``missing``) if there is no such file."""

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self._path, self._threads = existing(Path(path)), threads

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])


class SpeechTokenizer(OnnxEncoder):
    """Speech → CosyVoice2 tokens, by ``speech_tokenizer_v2.onnx``."""

    def __call__(self, speech: Audio) -> np.ndarray:
        """Up to 30 s → int64 [N], 25 a second. Raises :class:`EmotionOmniError` (code ``too-long``)."""
        if speech.seconds > MAX_SECONDS:
            raise EmotionOmniError(
                f"The speech lasts {speech.seconds:.1f} s; the speech tokenizer reads at most {MAX_SECONDS:.0f} s. "
                "Cut it.",
                "too-long",
            )
        mel = whisper_mel(speech)[None]
        mel_name, length_name = (tensor.name for tensor in self._session.get_inputs())
        inputs = {mel_name: mel, length_name: np.array([mel.shape[2]], np.int32)}
        return check_tokens(np.asarray(self._session.run(None, inputs)[0]).ravel())


class SpeakerEncoder(OnnxEncoder):
    """Speech → an embedding of the speaker, by ``campplus.onnx``."""

    def __call__(self, speech: Audio) -> np.ndarray:
        """→ float32 [192]."""
        inputs = {self._session.get_inputs()[0].name: kaldi_mel(speech)[None]}
        return np.asarray(self._session.run(None, inputs)[0], np.float32).ravel()


def kaldi_mel(speech: Audio) -> np.ndarray:
    """→ log-mel float32 [T, 80] in Kaldi's manner, 100 frames a second, with its mean over time subtracted."""
    bands = mel_filter_bank(
        257, 80, 20.0, ENCODER_HZ / 2, ENCODER_HZ, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    mel = spectrogram(
        audio.resample(speech, ENCODER_HZ).samples,
        window_function(400, "povey", periodic=False),
        400,
        160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=bands,
        mel_floor=float(np.finfo(np.float32).eps),
        log_mel="log",
        remove_dc_offset=True,
    )
    return (mel - mel.mean(axis=1, keepdims=True)).T.astype(np.float32)


def whisper_mel(speech: Audio) -> np.ndarray:
    """→ Whisper's log-mel float32 [128, T], 100 frames a second (Radford et al. 2022, section 2.2), without padding."""
    samples = torch.from_numpy(audio.resample(speech, ENCODER_HZ).samples)
    power = torch.stft(samples, 400, 160, window=torch.hann_window(400), return_complex=True)[:, :-1].abs().square()
    bands = mel_filter_bank(201, 128, 0.0, ENCODER_HZ / 2, ENCODER_HZ, norm="slaney", mel_scale="slaney")
    mel = (torch.from_numpy(bands).float().T @ power).clamp(min=1e-10).log10()
    return ((mel.maximum(mel.max() - 8) + 4) / 4).numpy()
