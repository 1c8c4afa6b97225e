"""A process that draws the results of large studies, so that those who rate meanwhile wait for none of it.

A study of 20,000 ratings takes about a second of work and a hundred megabytes. In the process that serves raters,
their requests would have to share the interpreter with it. The child answers one request at a time over its standard
input and output, as pickles; its matrix library has one thread, and other processes go first. It keeps no ratings
between requests and opens the database for each, so that nothing erased stays behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import BinaryIO

from annotation.store.engines import DatabaseURL
from annotation.store.reader import Reader
from annotation.ui.drawing import Drawn, draw
from emotion_omni.types import EmotionOmniError

IDLE = 600.0  # seconds without a request after which the child ends
PRIORITY = 5  # on Unix: how much less important than the process that serves (`nice`)
ROOT = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Request = tuple[
    DatabaseURL, str, bool, bytes
]  # database, study, whether flagged raters are left out, key of pseudonyms


class DrawingProcess:
    """The child, started when it is first needed and again if it has ended. One thread at a time may use it."""

    def __init__(self, url: DatabaseURL, secret: bytes) -> None:
        self.url, self.secret = url, secret
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """→ the process id of the child. It loads its libraries meanwhile, which takes a second or two."""
        if self._child is None or self._child.poll() is not None:
            path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            self._child = subprocess.Popen(
                [sys.executable, "-m", "annotation.ui.drawing_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | ONE_THREAD | {"PYTHONPATH": path},
            )
            weakref.finalize(self, _end, self._child)
        return self._child.pid

    def draw(self, study: str, kept_only: bool) -> Drawn:
        """Raises :class:`EmotionOmniError`: as :func:`draw`, or code ``drawing`` if the child fails twice."""
        request: Request = (self.url, study, kept_only, self.secret)
        for _ in range(2):  # the child may end, idle, just when it is asked
            self.start()
            with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
                answer = self._answer(request)
                if isinstance(answer, EmotionOmniError):
                    raise answer
                return answer
            self.close()
        raise EmotionOmniError(
            "The figures could not be computed: the process that computes them ended twice. The server's log says why; "
            "there may be too little memory for a study of this size. Try again later.",
            "drawing",
        )

    def _answer(self, request: Request) -> Drawn | EmotionOmniError:
        assert self._child and self._child.stdin and self._child.stdout
        pickle.dump(request, self._child.stdin)
        self._child.stdin.flush()
        return pickle.load(self._child.stdout)

    def close(self) -> None:
        if self._child is not None:
            _end(self._child)
            self._child = None


def _end(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    child.kill()  # it only reads
    child.wait()


# --- in the child -----------------------------------------------------------------------------------------------


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Until the requests end, or none comes for :data:`IDLE` seconds. An unexpected error ends the process."""
    gc.disable()  # rows are a million objects without cycles: looking for some takes half of the time
    while True:
        idle = threading.Timer(IDLE, os._exit, (0,))
        idle.daemon = True
        idle.start()
        try:
            request: Request = pickle.load(requests)
        except EOFError:
            return
        idle.cancel()
        pickle.dump(_answered(request), answers)
        answers.flush()
        gc.collect()


def _answered(request: Request) -> Drawn | EmotionOmniError:
    url, study, kept_only, secret = request
    reader = Reader(url)
    try:
        with reader.read() as view:
            return draw(view, study, kept_only, secret)
    except EmotionOmniError as error:
        return error
    finally:
        reader.close()


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # what a library prints is no answer
    if hasattr(os, "nice"):
        os.nice(PRIORITY)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
