"""The web page: what the server answers, what it refuses, that it keeps nothing of an upload."""

import asyncio
import base64
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from dicom_maker import MARKER, dicom

from breastus.cli.main import main
from breastus.data.images import to_png
from breastus.deploy.predictor import Predictor
from breastus.errors import ConfigError

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from breastus.workflows.demo import Limits, demo_app, open_demo

ADDRESS = "http://127.0.0.1:8000"
MIB = 2**20


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor(tiny_run.bundle)


@pytest.fixture(scope="module")
def app(predictor):
    return demo_app(predictor)


@pytest.fixture
def client(app):
    with TestClient(app, base_url=ADDRESS) as client:
        yield client


@pytest.fixture
def scan(speckle):
    return to_png(speckle(120, 150))


def _limited(predictor, **limits):
    return TestClient(demo_app(predictor, limits=Limits(**limits)), base_url=ADDRESS)


def test_an_image_is_answered_as_by_the_predictor(client, predictor, scan):
    answered = client.post("/predict", content=scan)
    assert answered.status_code == 200
    found = answered.json()
    assert {**found, "html": ""} == {**predictor(scan).to_dict(), "html": ""}
    assert f"P(lump) = {found['probability']:.2f}" in found["html"]
    assert f"data:image/png;base64,{base64.b64encode(scan).decode()}" in found["html"]


def test_what_is_unusual_and_referral_are_shown(client, speckle):
    found = client.post("/predict", content=to_png(speckle(30, 2000) // 16)).json()
    assert found["referred"]
    assert "Refer to a reader" in found["html"]
    assert "not an image that the model knows" in found["html"]


def test_the_page_names_the_model_and_what_it_learned_from(client, predictor):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert predictor.metadata["model"] in page.text
    assert "learned from simulated images (phantoms)" in page.text
    assert "not a medical device" in page.text


def test_everything_of_the_page_comes_from_the_server_itself(client):
    page = client.get("/").text
    for path in ("style.css", "demo.js", "example/0.png", "example/2.png"):
        assert f'"{path}"' in page
        assert client.get(f"/{path}").status_code == 200
    for text in (page, client.get("/style.css").text, client.get("/demo.js").text):
        assert "//" not in text.replace("// ", "")  # no address, with or without its scheme
    assert "<style" not in page
    assert " style=" not in page + client.post("/predict", content=_example(client)).json()["html"]


def _example(client) -> bytes:
    return client.get("/example/1.png").content


@pytest.mark.parametrize("path", ["/", "/predict", "/nothing", "/docs", "/openapi.json"])
def test_every_answer_has_the_security_headers(client, path):
    headers = client.get(path).headers
    assert (
        "default-src 'none'; script-src 'self'; style-src 'self'"
        in headers["content-security-policy"]
    )
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../scan.png", b"0" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "is not a PNG"),
        (b"<!doctype html><script>alert(1)</script>", "is not a PNG"),
        (_zip(), "is not a PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
    ],
)
def test_what_is_no_image_is_refused_and_the_server_lives_on(client, scan, data, reason):
    refused = client.post("/predict", content=data)
    assert refused.status_code == 422
    assert reason in refused.json()["detail"]
    assert client.post("/predict", content=scan).status_code == 200


def test_a_dicom_file_is_answered_and_no_element_of_it_is_given_out(client, speckle, capfd):
    grey = speckle(120, 150)[..., 0]
    answered = client.post("/predict", content=dicom(grey.copy()))
    assert answered.status_code == 200
    refused = client.post("/predict", content=dicom(grey.copy(), Modality="CT"))
    assert "Modality must be US" in refused.json()["detail"]
    for text in (answered.text, refused.text, *capfd.readouterr()):
        assert MARKER not in text


def test_a_dicom_file_of_several_frames_is_refused(client, speckle):
    frames = speckle(120, 150)[None, ..., 0].repeat(3, axis=0)
    refused = client.post("/predict", content=dicom(frames, NumberOfFrames=3))
    assert refused.status_code == 422
    assert "3 frames" in refused.json()["detail"]


def test_a_failure_of_the_model_is_told_without_its_message(predictor, scan, monkeypatch, capfd):
    client = TestClient(demo_app(predictor), base_url=ADDRESS)
    monkeypatch.setattr(
        "breastus.workflows.demo.read_image", lambda data: {}[f"{MARKER} of a patient"]
    )
    answered = client.post("/predict", content=scan)
    assert answered.status_code == 500
    assert "KeyError" in answered.json()["detail"]
    printed = "".join(capfd.readouterr())
    assert "KeyError" in printed
    assert MARKER not in answered.text + printed


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("192.168.0.7:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example:8000", 400),
        ("", 400),
    ],
)
def test_another_name_is_refused(client, scan, host, status):
    assert client.get("/", headers={"Host": host}).status_code == status
    assert client.post("/predict", content=scan, headers={"Host": host}).status_code == status


def test_the_name_of_host_is_accepted(predictor):
    client = TestClient(demo_app(predictor, names={"scanner.clinic"}), base_url=ADDRESS)
    assert client.get("/", headers={"Host": "scanner.clinic:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [(ADDRESS, 200), ("http://evil.example", 403), ("http://127.0.0.1:9000", 403), ("null", 403)],
)
def test_the_page_of_another_server_cannot_send_images(client, scan, origin, status):
    answered = client.post("/predict", content=scan, headers={"Origin": origin})
    assert answered.status_code == status


def _post(app, chunks, headers=(), pause=0.0):
    """Send a body in chunks of 1 MiB; return status and the number of chunks that were read."""
    read, sent = [], []

    async def receive():
        await asyncio.sleep(pause)
        read.append(len(read) + 1)
        return {"type": "http.request", "body": bytes(MIB), "more_body": len(read) < chunks}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], len(read)


def test_200_mb_are_refused_before_they_are_read(app):
    stated = (b"content-length", str(200 * MIB).encode())
    assert _post(app, 200, [stated]) == (413, 0)
    assert _post(app, 200, [(b"content-length", b"many")]) == (413, 0)
    assert _post(app, 200) == (413, Limits().file_bytes // MIB + 1)


def test_the_bytes_of_all_files_are_limited_and_given_free(predictor, scan):
    app = demo_app(predictor, limits=Limits(total_bytes=2 * MIB))
    assert _post(app, 3) == (503, 3)
    with TestClient(app, base_url=ADDRESS) as client:
        assert client.post("/predict", content=scan).status_code == 200


def test_a_file_that_arrives_too_slowly_is_refused(predictor):
    assert _post(demo_app(predictor, limits=Limits(seconds=0.05)), 2, pause=5)[0] == 408


def test_twenty_at_once_are_all_answered(client, predictor, scan):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", content=scan), range(20)))
    expected = predictor(scan).probability
    assert [answer.json()["probability"] for answer in answers] == [expected] * 20


def test_more_than_the_server_holds_are_refused_with_a_sentence(predictor, scan):
    with _limited(predictor, waiting=2) as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", content=scan), range(20)))
        assert {answer.status_code for answer in answers} == {200, 503}
        busy = next(answer for answer in answers if answer.status_code == 503)
        assert "Try again" in busy.json()["detail"]
        assert int(busy.headers["retry-after"]) > 0
        assert client.post("/predict", content=scan).status_code == 200


def test_one_address_cannot_send_without_end(predictor, scan, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("breastus.workflows.demo.monotonic", lambda: now[0])
    with _limited(predictor, per_minute=2) as client:
        sent = [client.post("/predict", content=scan) for _ in range(3)]
        assert [answer.status_code for answer in sent] == [200, 200, 429]
        now[0] += int(sent[-1].headers["retry-after"])
        assert client.post("/predict", content=scan).status_code == 200


_written: list[str] = []
_watching: list[bool] = []


def _watch(event, details):
    if _watching and event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        _written.append(str(details[0]))


def test_nothing_is_written(client, scan):
    sys.addaudithook(_watch)  # it cannot be taken away again
    large = scan + bytes(3 * MIB)  # above the size at which frameworks write uploads to files
    _watching.append(True)
    try:
        answered = client.post("/predict", content=large)
    finally:
        _watching.clear()
    assert answered.status_code == 200
    assert _written == []


@pytest.fixture
def loaded(predictor, monkeypatch):
    """A bundle that need not be loaded again."""
    monkeypatch.setattr("breastus.workflows.demo.Predictor", lambda model: predictor)
    return str(predictor.path)


def test_only_a_loopback_address_is_for_this_machine_alone(loaded):
    demo = open_demo(loaded, port=0)
    assert demo.loopback
    assert demo.url.startswith("http://127.0.0.1:")
    assert not open_demo(loaded, host="0.0.0.0", port=0).loopback


def test_an_address_that_cannot_be_used_is_named(loaded):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1, port {port}, cannot be used"):
            open_demo(loaded, port=port)
    with pytest.raises(ConfigError, match="Received: 70000"):
        open_demo(loaded, port=70000)


def test_the_command_warns_if_other_machines_can_open_the_page(loaded, monkeypatch, capsys):
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: sockets[0].close())
    assert main(["demo", loaded, "--port", "0"]) == 0
    shown = capsys.readouterr()
    assert "Page: http://127.0.0.1:" in shown.out
    assert "other machines" not in shown.err
    assert main(["demo", loaded, "--host", "0.0.0.0", "--port", "0"]) == 0
    assert "other machines can open this page" in capsys.readouterr().err


@pytest.fixture
def server(tiny_run):
    """The command as a process of its own: its address, and its output once it has ended."""
    command = [sys.executable, "-m", "breastus", "demo", str(tiny_run.bundle), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.slow
def test_in_chromium(server, browser, scan, tmp_path):
    files = {f"scan <b>{number}.png": scan for number in range(20)}
    files["drawing.png"] = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    files["page.png"] = b"<!doctype html><script>alert(1)</script>"
    files["archive.png"] = _zip()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(200 * MIB)

    url = server.stdout.readline().split()[1]
    page = browser.new_page(viewport={"width": 390, "height": 800})
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(url)
    page.set_input_files("#files", [tmp_path / name for name in (*files, "large.png")])
    page.locator("#cards .failed").nth(3).wait_for(timeout=120_000)
    page.locator("#cards [data-label]").nth(19).wait_for(timeout=120_000)
    assert "24 images" in page.inner_text("#summary")
    assert "4 not predicted" in page.inner_text("#summary")
    assert page.locator("#cards h3").all_inner_texts() == [*files, "large.png"]
    refused = dict(zip(["drawing", "page", "archive", "large"], _states(page), strict=True))
    assert refused["large"] == "The file is too large: 200 MiB, where 64 MiB are allowed."
    for name in ("drawing", "page", "archive"):
        assert refused[name].startswith("The image is not a PNG")
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 390  # nothing is wider than a phone

    page.click("#clear")
    page.click("text=malignant")
    page.evaluate(
        """async () => {
            const dataTransfer = new DataTransfer();
            const picture = await (await fetch("example/0.png")).blob();
            dataTransfer.items.add(new File([picture], "dropped.png"));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }"""
    )
    page.locator("#cards [data-label]").nth(1).wait_for(timeout=120_000)
    names = page.locator("#cards h3").all_inner_texts()
    assert names == ["dropped.png", "Simulated image: malignant"]
    assert problems == []
    assert all(address.startswith((f"{url}/", "data:")) for address in requests)

    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=120)
    assert server.returncode == 0
    assert ".png" not in out + err


def _states(page) -> list[str]:
    return page.locator("#cards .failed .state").all_inner_texts()
