"""A hub on this machine: the part of Hugging Face's protocol that downloads need, with faults where a test wants them.

Standard library only. Two servers, as there: the hub itself, and a storage on another port that large files are redirected
to, whose addresses are signed. Both write down what they were asked.
"""
import dataclasses
import hashlib
import http.server
import json
import pathlib
import re
import socket
import ssl
import threading
import urllib.parse

LARGE = 40_000  # bytes from which on a file is in git LFS


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(files.items()))).hexdigest()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclasses.dataclass
class Request:
    """What a server was asked."""
    server: str  # "hub" or "storage"
    method: str
    path: str
    token: str | None
    range: str | None

    def __str__(self) -> str:
        return f"{self.server} {self.method} {self.path}"


@dataclasses.dataclass
class Fault:
    """What goes wrong with requests whose str(Request) contains `match`, the first `times` times."""
    match: str
    times: int = 1
    skip: int = 0                       # so many of them go well before
    status: int = 0                     # answer that instead
    headers: dict[str, str] = dataclasses.field(default_factory=dict)  # beside it
    cut: int | None = None              # close the connection after so many bytes of the body
    flip: int | None = None             # change this byte of the file
    whole: bool = False                 # ignore Range
    extra: bytes = b""                  # behind the body
    body: bytes | None = None           # instead of the body
    stall: bool = False                 # send half, then nothing until the server ends


class Repository:
    def __init__(self, files: dict[str, bytes], token: str | None = None, told: bool = True):
        self.files, self.token = files, token
        self.told = told  # whether the listing tells sizes and hashes
        self.commit = commit_of(files)
        self.revisions = {"main": self.commit, self.commit: self.commit}
        self.names: list[str] | None = None  # what the listing calls the files

    def large(self, name: str) -> bool:
        return len(self.files[name]) >= LARGE

    def etag(self, name: str) -> str:
        data = self.files[name]
        return hashlib.sha256(data).hexdigest() if self.large(name) else git_hash(data)

    def listing(self, name: str, blobs: bool) -> bytes:
        siblings = []
        for file in sorted(self.files):
            entry = {"rfilename": file}
            if blobs and self.told:
                data = self.files[file]
                entry |= {"size": len(data), "blobId": git_hash(data)}
                if self.large(file):
                    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.etag(file)}\nsize {len(data)}\n"
                    entry |= {"blobId": git_hash(pointer.encode()),
                              "lfs": {"sha256": self.etag(file), "size": len(data), "pointerSize": len(pointer)}}
            siblings.append(entry)
        siblings += [{"rfilename": extra, "size": 1, "blobId": "0" * 40} for extra in self.names or []]
        return json.dumps({"_id": "1", "id": name, "modelId": name, "sha": self.commit, "private": False, "tags": [],
                           "downloads": 0, "likes": 0, "siblings": siblings}).encode()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, _request, _address) -> None:
        """Clients that are killed, or have seen enough, are no error."""


class Hub:
    """Both servers, until close()."""

    def __init__(self, repositories: dict[str, Repository], certificate: str | None = None):
        """`certificate`: a PEM file with its key, where they are to speak https."""
        self.repositories, self.renamed = repositories, {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.signed = 0  # addresses given so far
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.servers = {}
        for name, handler in (("hub", HubHandler), ("storage", StorageHandler)):
            server = Server(("127.0.0.1", 0), handler)
            server.hub, server.kind = self, name
            if certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            self.servers[name] = server
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.scheme = "https" if certificate else "http"
        self.endpoint = self.address("hub")

    def address(self, server: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.servers[server].server_address[1]}"

    def asked(self, match: str) -> list[Request]:
        return [r for r in self.requests if match in str(r)]

    def close(self) -> None:
        self.ended.set()
        for server in self.servers.values():
            server.shutdown()
            server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub: Hub = self.server.hub
        authorization = self.headers.get("Authorization")
        request = Request(self.server.kind, self.command, self.path,
                          authorization.removeprefix("Bearer ") if authorization else None, self.headers.get("Range"))
        self.fault = None
        with hub.lock:
            hub.requests.append(request)
            for fault in hub.faults:
                if fault.match not in str(request) or fault.times == 0:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                self.fault = fault
                break
        if self.fault and self.fault.status:
            return self.refuse(self.fault.status, self.fault.headers)
        self.answer(request)

    def refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send(status, b"refused", headers or {})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.write(body)

    def write(self, body: bytes) -> None:
        fault = self.fault
        if fault and fault.stall:
            self.wfile.write(body[: len(body) // 2])
            self.server.hub.ended.wait()
        if fault and fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(body)

    def send_file(self, data: bytes, headers: dict[str, str]) -> None:
        fault = self.fault
        if fault and fault.flip is not None:
            data = data[: fault.flip] + bytes([data[fault.flip] ^ 1]) + data[fault.flip + 1:]
        if fault and fault.body is not None:
            data = fault.body
        if fault:
            data += fault.extra
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not asked or (fault and fault.whole):
            return self.send(200, data, headers)
        begin = int(asked[1])
        if begin >= len(data):
            return self.refuse(416, {"Content-Range": f"bytes */{len(data)}"})
        self.send(206, data[begin:], headers | {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"})


class HubHandler(Handler):
    def answer(self, request: Request) -> None:
        hub: Hub = self.server.hub
        url = urllib.parse.urlsplit(self.path)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", url.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path)
        name = (api or file)[1] if api or file else ""
        if name in hub.renamed:
            return self.send(307, b"", {"Location": self.path.replace(name, hub.renamed[name])})
        repository = hub.repositories.get(name)
        if repository is None:
            # The hub does not tell strangers which names exist.
            return self.refuse(404 if request.token else 401, {"X-Error-Code": "RepoNotFound"})
        if repository.token and request.token != repository.token:
            return self.refuse(403 if request.token else 401, {"X-Error-Code": "GatedRepo"})
        commit = repository.revisions.get(urllib.parse.unquote((api or file)[2]))
        if commit is None:
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        if api:
            body = repository.listing(name, "blobs=" in url.query)
            return self.send(200, self.fault.body if self.fault and self.fault.body is not None else body,
                             {"Content-Type": "application/json"})
        path = urllib.parse.unquote(file[3])
        if path not in repository.files:
            return self.refuse(404, {"X-Error-Code": "EntryNotFound"})
        etag = f'"{repository.etag(path)}"'
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not repository.large(path):
            return self.send_file(repository.files[path], headers | {"ETag": etag})
        with hub.lock:
            hub.signed += 1
            signed = hub.signed
        address = f"{hub.address('storage')}/{name}/{path}?signature={signed}"
        self.send(302, b"", headers | {"Location": address, "X-Linked-Etag": etag,
                                       "X-Linked-Size": str(len(repository.files[path]))})


class StorageHandler(Handler):
    def answer(self, _request: Request) -> None:
        organization, name, path = urllib.parse.urlsplit(self.path).path.lstrip("/").split("/", 2)
        self.send_file(self.server.hub.repositories[f"{organization}/{name}"].files[path], {"Accept-Ranges": "bytes"})


def folder_files(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
