"""The voice that CosyVoice2 speaks in: a speaker embedding and a prompt, made once from a recording and kept as a file.

Axes: P prompt tokens, F = 2 P mel frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError
from torch import nn
from transformers.audio_utils import mel_filter_bank

from emotion_omni import audio
from emotion_omni.synthesis.cosyvoice2_folder import existing
from emotion_omni.synthesis.cosyvoice2_networks import BANDS, FRAMES, HOP, HZ, SPEAKER_DIMENSIONS, check_tokens
from emotion_omni.synthesis.onnx_encoders import SpeakerEncoder, SpeechTokenizer
from emotion_omni.types import Audio, EmotionOmniError


@dataclass(frozen=True, eq=False)
class VoicePrompt:
    """``embedding``: float32 [192], CAM++. ``tokens``: int64 [P], the speech tokens of the recording.

    ``mel``: float32 [2 P, 80], its log-mel spectrogram. Raises :class:`EmotionOmniError` (code ``voice``).
    """

    embedding: np.ndarray
    tokens: np.ndarray
    mel: np.ndarray

    def __post_init__(self) -> None:
        arrays = (self.embedding, self.tokens, self.mel)
        expected = [
            (np.float32, (SPEAKER_DIMENSIONS,)),
            (np.int64, (self.tokens.size,)),
            (np.float32, (FRAMES * self.tokens.size, BANDS)),
        ]
        if [(array.dtype, array.shape) for array in arrays] != expected:
            found = ", ".join(f"{array.dtype} {list(array.shape)}" for array in arrays)
            raise EmotionOmniError(
                f"A voice is float32 [{SPEAKER_DIMENSIONS}], P int64 tokens and a float32 mel [{FRAMES} P, {BANDS}], "
                f"not {found}. Make it again from its recording.",
                "voice",
            )
        check_tokens(self.tokens)

    @classmethod
    def of(cls, speech: Audio, tokenizer: SpeechTokenizer, speaker_encoder: SpeakerEncoder) -> VoicePrompt:
        """A clear recording of 3 to 10 s of one person → their voice. A longer prompt costs more in every chunk."""
        tokens, mel = tokenizer(speech), prompt_mel(speech)
        count = min(len(tokens), len(mel) // FRAMES)  # the two round the end of the recording differently
        return cls(speaker_encoder(speech), tokens[:count], mel[: FRAMES * count])

    @classmethod
    def load(cls, path: str | Path) -> VoicePrompt:
        """From a safetensors file made by :meth:`save`."""
        try:
            arrays = safetensors.numpy.load_file(existing(Path(path)))
            return cls(arrays["embedding"], arrays["tokens"], arrays["mel"])
        except (SafetensorError, KeyError) as error:
            raise EmotionOmniError(
                f"{path} is not a voice ({error}). Make it again from its recording.", "voice"
            ) from error

    def save(self, path: str | Path) -> None:
        """To one safetensors file."""
        arrays = {"embedding": self.embedding, "tokens": self.tokens, "mel": self.mel}
        safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def prompt_mel(speech: Audio) -> np.ndarray:
    """→ log-mel float32 [F, 80] as the flow generates and the vocoder reads it: 50 frames a second, 0 to 8 kHz."""
    samples = torch.from_numpy(audio.resample(speech, HZ).samples)
    width = 4 * HOP
    padded = nn.functional.pad(samples[None], ((width - HOP) // 2, (width - HOP) // 2), mode="reflect")[0]
    spectrum = torch.stft(padded, width, HOP, window=torch.hann_window(width), center=False, return_complex=True)
    bands = mel_filter_bank(width // 2 + 1, BANDS, 0.0, 8000.0, HZ, norm="slaney", mel_scale="slaney")
    amplitudes = (spectrum.abs().square() + 1e-9).sqrt()
    return (torch.from_numpy(bands).float().T @ amplitudes).clamp(min=1e-5).log().T.contiguous().numpy()
