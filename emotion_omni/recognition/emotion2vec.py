"""emotion2vec: the network, from a folder or a repository, with or without its classification head.

Built from the classes of the package funasr, loaded here. Not by funasr's AutoModel: that evaluates a string of the
configuration as code, leaves weights that the file lacks random, and sets threads and seeds of the whole process. The
end-to-end model uses the frames, the cascade the head.

Axes: B recordings, N samples (16 kHz), T frames (50 Hz), E width, K labels.
Source: Ma et al. 2023, "emotion2vec" (arXiv 2312.15185).
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from emotion_omni.types import EmotionOmniError

LAYERS = re.compile(r"(?:[\d\s\[\](),+]|\*(?!\*))+")  # lists of tuples of numbers, with + and *
EPSILON = 1e-5  # of the layer norm over a whole recording
UNUSED = "unuse"  # prefix of labels that the head has and never predicts
PREFIXES = ("", "d2v_model.", "module.")  # of a tensor's name in the file: none, below a head, trained on several GPUs


@dataclass(frozen=True, eq=False)
class Emotion2vec:
    """``labels``: all K of the head, none without it. ``files``: those that the network was loaded from."""

    network: Any
    width: int
    normalised: bool  # whether it was trained on recordings of mean 0 and variance 1
    kernels: tuple[tuple[int, int], ...]  # (size, stride) of each convolution over the samples
    labels: tuple[str, ...]
    files: tuple[Path, ...]

    @classmethod
    def load(cls, name: str, revision: str = "", head: bool = False) -> Emotion2vec:
        """A hub id, ``id@revision``, an id of ModelScope (``iic/…``) or a folder; on the CPU, without gradients.

        Raises :class:`EmotionOmniError` (code ``missing-package``), and what hub clients and file readers raise.
        """
        network_of = _package("funasr.models.emotion2vec.model", "funasr").Emotion2vec
        folder = _folder(name, revision)
        about = _about(folder)
        settings = _settings(folder)
        labels = _labels(folder, about) if head else ()
        file = folder / Path(about.get("init_param", "model.pt")).name
        network = _built(network_of, settings, len(labels))
        _fill(network, torch.load(file, map_location="cpu", weights_only=True))
        kernels = tuple((size, stride) for _, size, stride in network.modality_encoders["AUDIO"].feature_enc_layers)
        files = (folder / "config.yaml", file)
        network.eval().requires_grad_(False)
        return cls(network, settings["embed_dim"], bool(settings.get("normalize")), kernels, labels, files)

    @property
    def used(self) -> list[str]:
        """The labels of :meth:`probabilities`."""
        return [label for label in self.labels if not label.startswith(UNUSED)]

    def frames(self, samples: Tensor) -> Tensor:
        """[B, N], normalized to mean 0 and variance 1 if ``normalised`` → [B, T, E]."""
        return self.network.extract_features(samples, padding_mask=None)["x"]

    @torch.inference_mode()
    def probabilities(self, samples: Tensor) -> Tensor:
        """One recording [N] → a probability for each of :attr:`used`.

        One at a time: funasr keeps a table of the largest batch by the longest recording so far, gigabytes for a batch.
        """
        samples = samples.to(self.network.proj.weight)
        samples = F.layer_norm(samples, samples.shape, eps=EPSILON) if self.normalised else samples
        logits = self.network.proj(self.frames(samples[None]).mean(1))[0]
        kept = [index for index, label in enumerate(self.labels) if not label.startswith(UNUSED)]
        return logits[kept].softmax(0)


def _package(module: str, package: str) -> Any:
    try:
        with redirect_stdout(sys.stderr):  # funasr prints a greeting, and stdout is for JSON
            return importlib.import_module(module)
    except ImportError as error:
        raise EmotionOmniError(
            f"emotion2vec needs the package {package}, and it cannot be imported ({error}). Run: pip install {package}",
            "missing-package",
        ) from error


def _folder(name: str, revision: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    name, _, pinned = name.partition("@")
    commit = revision or pinned or None
    if name.startswith("iic/"):
        return Path(_package("modelscope.hub.snapshot_download", "modelscope").snapshot_download(name, revision=commit))
    return Path(huggingface_hub.snapshot_download(name, revision=commit))


def _about(folder: Path) -> dict[str, Any]:
    """Names of the repository's files: ``init_param`` the weights, ``tokenizer_conf`` the list of labels."""
    about = folder / "configuration.json"
    return json.loads(about.read_text("utf-8")).get("file_path_metas", {}) if about.exists() else {}


class _Reader(yaml.SafeLoader):
    """Reads 1e-05 as a number, as the published files mean it; in YAML 1.1 it is a string."""


_Reader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), [*"-+0123456789"])


def _settings(folder: Path) -> dict[str, Any]:
    """The network's settings in config.yaml.

    References are refused. funasr's classes would follow them: one may name a secret of the environment, which an error
    would then show.
    """
    try:
        settings = yaml.load((folder / "config.yaml").read_text("utf-8"), _Reader)
        refers = "${" in json.dumps(settings, default=str)
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError("Its config.yaml is not YAML with plain settings.") from error
    if refers:
        raise ValueError("Its config.yaml refers to other values (${…}), and no reference is followed.")
    if not isinstance(settings, dict) or not isinstance(settings.get("model_conf"), dict):
        raise ValueError("Its config.yaml has no model_conf.")
    return settings["model_conf"]


def _built(network_of: Any, settings: dict[str, Any], labels: int) -> Any:
    """The network with random weights; the random generators stay as they are."""
    try:
        layers = settings["modalities"]["audio"]["feature_encoder_spec"]
        if not LAYERS.fullmatch(layers):
            # funasr would run it as code
            raise ValueError("feature_encoder_spec in its config.yaml is not a list of numbers.")
        with torch.random.fork_rng(devices=[]):
            network = network_of(model_conf=settings, vocab_size=labels)
    except ValueError:
        raise
    except Exception as error:  # of any type: funasr checks nothing
        raise ValueError(f"Its config.yaml describes no emotion2vec ({type(error).__name__}).") from error
    network.modality_encoders["AUDIO"].decoder = None  # of its pretraining
    return network


def _labels(folder: Path, about: dict[str, Any]) -> tuple[str, ...]:
    """The lines of the repository's list of tokens, in the order of the head."""
    path = folder / Path(about.get("tokenizer_conf", {}).get("token_list", "tokens.txt")).name
    if not path.is_file():
        raise ValueError(
            f"It has no {path.name} with the names of emotions. Choose one tuned to classify them, an emotion2vec+."
        )
    with path.open(encoding="utf-8") as lines:
        return tuple(line.rstrip() for line in lines)


def _fill(network: nn.Module, checkpoint: Any) -> None:
    """Loads every tensor of the network; those of its pretraining alone stay in the file."""
    for key in ("state_dict", "model_state_dict", "model"):
        checkpoint = checkpoint.get(key, checkpoint)
    expected = network.state_dict()
    found = {name: checkpoint[prefix + name] for prefix in PREFIXES for name in expected if prefix + name in checkpoint}
    if lacking := sorted(expected.keys() - found.keys()):
        raise ValueError(f"Its file of weights lacks {len(lacking)} tensors, {lacking[0]} for one.")
    if wrong := [name for name in expected if expected[name].shape != found[name].shape]:
        in_file, configured = list(found[wrong[0]].shape), list(expected[wrong[0]].shape)
        raise ValueError(
            f"The tensor {wrong[0]} is {in_file} in its file of weights and {configured} by its configuration."
        )
    network.load_state_dict(found, strict=True)
