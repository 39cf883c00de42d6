"""Serve a model as a web page: a bundle in, a page on this machine that answers for images.

The server is made for a few people on one machine. Images stay in memory until they are answered.
Neither their names, which the page does not send, nor their contents are stored or logged.
"""

import asyncio
import ipaddress
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from breastus.data.dicom.dicom_file import DicomFile
from breastus.data.dicom.files import is_dicom
from breastus.data.images import read_image, to_png
from breastus.deploy.predictor import Predictor
from breastus.errors import ConfigError, ImageError
from breastus.labels import KNOWN_FINDINGS
from breastus.phantoms.simulation import simulate_phantom
from breastus.reporting.demo_page import page_files, result

if TYPE_CHECKING:  # it is in the extra `demo`
    from fastapi import FastAPI, Request

_INSTALL = "pip install 'breastus[demo]'"
_SIDE = 480  # longer side of a picture on the page, in pixels
_EXAMPLES_SEED = 11
# Only files of the page itself run or are shown, and no other page may show or embed it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes. The numbers are our choice, for a laptop with 4 GB of memory.

    Attributes:
        file_bytes: largest file. A frame of ultrasound has less than 5 MB.
        total_bytes: bytes of all files that are in memory at one time.
        waiting: images that are received, wait or are predicted at one time.
        per_minute: images a minute from one address.
        seconds: time in which a file must arrive.
    """

    file_bytes: int = 64 * 2**20
    total_bytes: int = 256 * 2**20
    waiting: int = 32
    per_minute: int = 240
    seconds: float = 60


class Demo(NamedTuple):
    """A page that is ready to be served.

    Attributes:
        url: its address.
        loopback: true if this machine alone can reach it.
        serve: a function that answers until the process is interrupted.
    """

    url: str
    loopback: bool
    serve: Callable[[], None]


def open_demo(model: Any, *, host: str = "127.0.0.1", port: int = 8000) -> Demo:
    """Load a model, and open the port of its page.

    Args:
        model: bundle or finished run, as `Predictor` loads it.
        host: address or name to listen on. Other machines reach the page unless it is a loopback
            address.
        port: port, 0 for any free one.

    Raises:
        ImportError: if FastAPI or uvicorn is not installed.
        ConfigError: if the address cannot be used.
        BundleError: if the bundle cannot be loaded.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ImportError(f"The web page needs FastAPI and uvicorn: {_INSTALL}") from error
    predictor = Predictor(model)
    listening = _listen(host, port)
    app = demo_app(predictor, names={host.lower()})
    address, port = listening.getsockname()[:2]
    # No log of requests. Messages of level "warning" and above name no content.
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)

    def serve() -> None:
        with suppress(KeyboardInterrupt):  # the usual way to end it
            uvicorn.Server(config).run(sockets=[listening])

    shown = f"[{host}]" if ":" in host else host
    return Demo(f"http://{shown}:{port}", ipaddress.ip_address(address).is_loopback, serve)


def demo_app(
    predictor: Predictor, *, names: Collection[str] = (), limits: Limits | None = None
) -> "FastAPI":
    """Return the server of a page as an ASGI application.

    `POST predict` takes the bytes of an image file as its body. It answers with what `breastus
    predict --format json` prints of an image, and `html`. What it refuses, it answers with
    `detail`, a sentence, and status

    - 400 if it was addressed by a name that it does not have, 403 by the page of another server;
    - 408, 413 if a file arrives too slowly, or is too large;
    - 422 if a file cannot be read;
    - 429, 503 with `Retry-After` if one address sends too many images, or all together do.

    Args:
        predictor: a loaded bundle. All predictions are made in one thread.
        names: names of this server in addition to `localhost` and any IP address.
        limits: limits of the server; None takes `Limits()`.
    """
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import JSONResponse

    limits = limits or Limits()
    uploads = _Uploads(limits)
    worker = ThreadPoolExecutor(1, thread_name_prefix="breastus-demo")
    examples = [_example(number) for number in range(len(KNOWN_FINDINGS))]
    predictor(examples[0])  # the first prediction takes longest
    files = page_files(predictor.metadata, examples=examples, max_bytes=limits.file_bytes)
    # The pages of FastAPI about itself would load scripts from another server.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable) -> Response:
        if problem := _foreign(request, names):
            status, detail = problem
            response = JSONResponse({"detail": detail}, status)
        else:
            response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        async with uploads.receive(request) as data:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(worker, _answer, predictor, data)

    @app.get("/{path:path}")
    async def file(path: str) -> Response:
        if path not in files:
            raise _refusal(404, "There is no such page.")
        content, media_type = files[path]
        return Response(content, media_type=media_type)

    return app


class _Uploads:
    """What is received and predicted at one time; used by the thread of the event loop alone."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._count = self._bytes = 0
        self._times: dict[str, deque[float]] = {}  # address to times of the last minute

    @asynccontextmanager
    async def receive(self, request: "Request") -> AsyncIterator[bytes]:
        """Give the body of a request, and hold its place until it is answered."""
        self._check_rate(request.client.host if request.client else "")
        if self._count >= self._limits.waiting:
            raise _refusal(503, "The server is busy. Try again soon.", wait=2)
        body = bytearray()
        self._count += 1
        try:
            await self._read(request, body)
            yield bytes(body)
        finally:
            self._count -= 1
            self._bytes -= len(body)

    async def _read(self, request: "Request", body: bytearray) -> None:
        """Read a body in memory; refuse it once it is too large."""
        from starlette.requests import ClientDisconnect

        limits = self._limits
        too_large = f"The file is too large: {limits.file_bytes / 2**20:.0f} MiB are allowed."
        stated = request.headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated) > limits.file_bytes:
            raise _refusal(413, too_large)
        try:
            async with asyncio.timeout(limits.seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > limits.file_bytes:
                        raise _refusal(413, too_large)
                    if self._bytes + len(chunk) > limits.total_bytes:
                        detail = "The server holds too many large files. Try again soon."
                        raise _refusal(503, detail, wait=2)
                    self._bytes += len(chunk)
                    body += chunk
        except TimeoutError as error:
            detail = f"The file did not arrive within {limits.seconds:.0f} seconds."
            raise _refusal(408, detail) from error
        except ClientDisconnect as error:
            raise _refusal(400, "The upload ended before its end.") from error

    def _check_rate(self, client: str) -> None:
        now = monotonic()
        self._times = {name: times for name, times in self._times.items() if times[-1] > now - 60}
        times = self._times.setdefault(client, deque())
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= self._limits.per_minute:
            detail = f"Too many images: {self._limits.per_minute} a minute are answered."
            raise _refusal(429, detail, wait=int(times[0] + 60 - now) + 1)
        times.append(now)


def _refusal(status: int, detail: str, *, wait: int = 0) -> Exception:
    """Return the error that FastAPI answers with; `wait` is the time in seconds to wait first."""
    from fastapi import HTTPException

    return HTTPException(status, detail, {"Retry-After": str(wait)} if wait else None)


def _answer(predictor: Predictor, data: bytes) -> dict[str, Any]:
    """Return the answer for the bytes of a file. The message of an error is not logged."""
    try:
        if is_dicom(data) and (frames := DicomFile.read(data, pixels=False).frames) > 1:
            raise ImageError(
                f"the image is a DICOM file with {frames} frames. Export one of them, or name it "
                "for the command line: breastus predict MODEL scan.dcm#frame=1"
            )
        prediction = predictor(data)
        picture = to_png(read_image(data), side=_SIDE)
        html = result(predictor.metadata, prediction, picture)
    except ImageError as error:
        detail = str(error)
        raise _refusal(422, detail[0].upper() + detail[1:]) from error
    except Exception as error:
        kind = type(error).__name__
        print(f"breastus: error: an image could not be predicted: {kind}", file=sys.stderr)
        raise _refusal(500, f"The image could not be predicted: {kind}.") from error
    return {**prediction.to_dict(), "html": html}


def _foreign(request: "Request", names: Collection[str]) -> tuple[int, str] | None:
    """Return status and reason why a request is not from the page of this server.

    The page of another server can reach this one by a name that leads here (DNS rebinding). Such a
    name is never an IP address.
    """
    host = request.headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name not in ("localhost", *names):
            ipaddress.ip_address(name)
    except ValueError:
        return 400, "The server has no such name. Open it by its IP address, or as localhost."
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return 403, "Only the page of this server may send images to it."
    return None


def _example(number: int) -> bytes:
    phantom = simulate_phantom(_EXAMPLES_SEED, number, finding=KNOWN_FINDINGS[number])
    return to_png(phantom.image, simulated=True)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port must be 0 to 65535. Received: {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"The address {host}, port {port}, cannot be used: {reason}. Choose another --port, or "
            "another --host of this machine."
        ) from error
