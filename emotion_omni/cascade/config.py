"""Which parts a cascade is made of, as a small YAML or JSON file. Imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emotion_omni.recognition.config import RecognizerConfig, WhisperCT2Config, WhisperHFConfig
from emotion_omni.response.config import (
    PlannerConfig,
    Qwen2Config,
    ResponderConfig,
    TransformersResponderConfig,
)
from emotion_omni.strict import Strict, refuse
from emotion_omni.synthesis.config import CosyVoice2Config, KokoroConfig, SynthesizerConfig
from emotion_omni.text_encoding import decode_text
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True)
class CascadeConfig(Strict):
    """The defaults are the parts of the preset ``embedded``.

    ``crisis``: a ``crisis.safetensors``; empty for the one that comes with the package.

    ``device``: ``auto`` (the first GPU, if there is one), ``cpu``, ``cuda`` or ``cuda:1``.
    """

    recognizer: RecognizerConfig = WhisperCT2Config()
    planner: PlannerConfig = PlannerConfig()
    responder: ResponderConfig = Qwen2Config()
    synthesizer: SynthesizerConfig = KokoroConfig()
    device: str = "auto"
    crisis: str = ""

    @property
    def uses_device(self) -> bool:
        """Whether any part runs on :attr:`device`; the others run on the CPU."""
        parts = (self.recognizer, self.responder, self.synthesizer)
        return any(isinstance(part, WhisperHFConfig | TransformersResponderConfig | CosyVoice2Config) for part in parts)

    def check_packages(self) -> None:
        """Before gigabytes are loaded in vain. Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        if isinstance(self.recognizer, WhisperHFConfig):
            self.recognizer.check_package()
        if isinstance(self.responder, TransformersResponderConfig):
            self.responder.check_package()

    @classmethod
    def read(cls, path: Path) -> CascadeConfig:
        """A file ending in .yaml, .yml or .json. Raises :class:`EmotionOmniError` (code ``config``) for any fault."""
        try:
            text, _ = decode_text(path.read_bytes(), "it")
        except OSError as error:
            raise refuse(
                f"The cascade file {path.name!r} cannot be read: {error.strerror}. Name a YAML or JSON file."
            ) from error
        except EmotionOmniError as error:
            raise refuse(f"The cascade file {path.name!r} cannot be read: {error}") from error
        try:
            return cls.from_mapping(_parse(text, path))
        except yaml.MarkedYAMLError as error:
            line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise refuse(f"{path.name}{line} is not valid YAML: {error.problem}.") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise refuse(f"{path.name} is not valid YAML: {str(error).splitlines()[0]}.") from error
        except json.JSONDecodeError as error:
            raise refuse(f"{path.name} line {error.lineno} is not valid JSON: {error.msg}.") from error


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice (plain YAML keeps the last); reads 1e-05 as a number, as JSON does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def _parse(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(text)
    found = yaml.load(text, _StrictLoader)
    if found is None:
        raise refuse(f"{path.name} is empty. Name at least one part, such as synthesizer: {{kind: kokoro}}.")
    return found
