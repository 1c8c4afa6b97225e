"""The two frozen encoders of a recording: one for what is said, one for how it is said.

Paper, model section: Whisper large-v3 and emotion2vec, both at 50 Hz and never trained. Each is made by one
function, in float32 on every device, and reads what :func:`prepare` returns, for queries and spoken answers
alike.
"""

from pathlib import Path

from emotion_omni import weights
from emotion_omni.omni.encoders.emotion import emotion_encoder
from emotion_omni.omni.encoders.encoder import Encoder
from emotion_omni.omni.encoders.recording import PREPARE_VERSION, prepare
from emotion_omni.omni.encoders.semantic import semantic_encoder

__all__ = ["PREPARE_VERSION", "Encoder", "code_sha256", "emotion_encoder", "prepare", "semantic_encoder"]


def code_sha256() -> str:
    """Of this package's modules: while it stays the same, an encoder's identity can be noted instead of loaded."""
    return "".join(weights.sha256(path) for path in sorted(Path(__file__).parent.glob("*.py")))
