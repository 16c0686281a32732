"""A home folder, a server of one file, no network, and files of images."""

import hashlib
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.data.download import Archive


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("SENAS_HOME", str(folder))
    monkeypatch.delenv("SENAS_OFFLINE", raising=False)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@dataclass
class Web:
    """A server of one file: `cuts` are how many bytes it sends of the body before it hangs up, one per answer."""

    content: bytes
    ranges: bool = True
    cuts: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    url: str = ""

    def publish(self, content: bytes) -> Archive:
        self.content = content
        return Archive(self.url, hashlib.sha256(content).hexdigest())


@pytest.fixture
def web(monkeypatch):
    served = Web(b"")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            served.asked.append(wanted)
            start = int(wanted[len("bytes=") : -1]) if wanted and served.ranges else 0
            body, whole = served.content[start:], len(served.content)
            if start and start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                body = b""
            elif start:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: served.cuts.pop(0)] if served.cuts else body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/some.tar.gz"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def folder_of():
    """`folder_of(root, images)` writes files by their names, and gives `root`."""

    def write(root, images):
        for name, data in images.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return root

    return write


@pytest.fixture(scope="session")
def parquet_of():
    """`parquet_of(path, images, labels)` writes a Parquet file of encoded images, and gives `path`."""

    def write(path, images, labels, column="img", rows=4):
        struct = pa.array(
            [{"bytes": data, "path": None} for data in images], pa.struct({"bytes": pa.binary(), "path": pa.string()})
        )
        pq.write_table(pa.table({column: struct, "label": labels}), path, row_group_size=rows)
        return path

    return write
