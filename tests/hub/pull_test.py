"""bifrons pull and -m hf:… against a hub on this machine (hub_server.py), fault by fault.

  pull_test.py BIFRONS [TEST…]
"""
import concurrent.futures
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from hub_server import Fault, Hub, Repository, folder_files

PROGRAM = ""
MODEL = pathlib.Path(__file__).parent.parent / "goldens" / "tiny-a"
NAME = "tiny/janus"
WEIGHTS = "model.safetensors"


def repository(**settings) -> Repository:
    """A tiny model that loads, among what else lies in repositories."""
    others = {"README.md": b"# Janus", ".gitattributes": b"*.bin lfs", "demo.png": b"x" * 50_000,
              "images/config.json": b"{}", "pytorch_model.bin": b"p" * 60_000, "training_args.bin": b"t"}
    return Repository(folder_files(MODEL / "converted") | others, **settings)


class Pull(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        self.repository = repository()
        self.hub = Hub({NAME: self.repository})
        self.addCleanup(self.hub.close)
        self.set = {"HF_HOME": str(self.home / "hf"), "HF_ENDPOINT": self.hub.endpoint}
        self.folder = self.home / "hf/hub/models--tiny--janus"
        self.chosen = {name for name in folder_files(MODEL / "converted")}

    def environment(self) -> dict[str, str]:
        ours = re.compile(r"HF_|HUGGING|TRANSFORMERS_|BIFRONS_|XDG_|.*_CA_BUNDLE$|.*_proxy$", re.IGNORECASE)
        kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
        return kept | {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache"), "LC_ALL": "C.UTF-8"} | self.set

    def start(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen:
        return subprocess.Popen([*before, PROGRAM, *arguments], env=self.environment(), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=self.home)

    def run_program(self, *arguments: str, **settings) -> tuple[int, str, str]:
        process = self.start(*arguments, **settings)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def pull(self, *arguments: str, **settings) -> str:
        code, out, err = self.run_program("pull", *(arguments or (NAME,)), **settings)
        self.assertEqual((code, err), (0, ""))
        return out.rstrip("\n")

    def refused(self, code: int, *words: str, arguments: tuple[str, ...] = ("pull", "-q", NAME), **settings) -> str:
        """The program fails with one line that has these words, and leaves nothing that looks whole."""
        got, out, err = self.run_program(*arguments, **settings)
        self.assertEqual((got, out), (code, ""), err)
        self.assertEqual(err.count("\n"), 1, err)
        for word in words:
            self.assertIn(word, err)
        self.nothing_whole()
        return err

    def nothing_whole(self) -> None:
        self.assertEqual(list(self.folder.glob("snapshots/*/*")), [])
        self.assertFalse((self.folder / "refs").exists())

    def whole(self, snapshot: str | None = None) -> None:
        """Blobs, links and the ref are what the hub's own client makes of these files."""
        path = self.folder / "snapshots" / self.repository.commit
        self.assertEqual(str(path), snapshot or str(path))
        self.assertEqual({p.name for p in path.iterdir()}, self.chosen)
        for name in self.chosen:
            self.assertEqual(os.readlink(path / name), f"../../blobs/{self.repository.etag(name)}")
            self.assertEqual((path / name).read_bytes(), self.repository.files[name])
        self.assertEqual({p.name for p in (self.folder / "blobs").iterdir()},
                         {self.repository.etag(name) for name in self.chosen})

    # ---- what goes well

    def test_makes_the_cache_of_the_hub(self):
        self.whole(self.pull())
        self.assertEqual((self.folder / "refs/main").read_text(), self.repository.commit)
        self.assertFalse(self.hub.asked("demo.png") or self.hub.asked(".bin") or self.hub.asked("README"))

    def test_again_downloads_nothing(self):
        self.pull()
        self.hub.requests.clear()
        self.whole(self.pull())
        self.assertEqual(len(self.hub.requests), 1)

    def test_revisions(self):
        self.repository.revisions["refs/pr/1"] = self.repository.commit
        self.pull(NAME + "@refs/pr/1")
        self.assertEqual((self.folder / "refs/refs/pr/1").read_text(), self.repository.commit)
        self.pull(NAME + "@" + self.repository.commit)
        self.whole()
        self.assertEqual([p.name for p in (self.folder / "refs").iterdir()], ["refs"])

    def test_the_listing_tells_no_hashes(self):
        self.repository.told = False
        self.whole(self.pull())
        self.assertTrue(self.hub.asked("hub HEAD"))

    def test_a_renamed_repository(self):
        self.hub.renamed["old/janus"] = NAME
        self.pull("old/janus")
        self.assertTrue((self.home / "hf/hub/models--old--janus/snapshots" / self.repository.commit / WEIGHTS).is_file())

    def test_pickles_where_there_is_nothing_else(self):
        self.repository = self.hub.repositories[NAME] = Repository(folder_files(MODEL / "original"))
        self.chosen = set(self.repository.files)
        self.whole(self.pull())

    def test_shards_with_their_index(self):
        shards = {f"model-0000{i}-of-00002.safetensors": b"%d" % i * 50_000 for i in (1, 2)}
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        files = {k: v for k, v in self.repository.files.items() if k != WEIGHTS} | shards
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        self.repository = self.hub.repositories[NAME] = Repository(files | {"other.safetensors": b"o"})
        self.chosen = self.chosen - {WEIGHTS} | set(shards) | {"model.safetensors.index.json"}
        self.whole(self.pull())
        self.set["HF_HUB_OFFLINE"] = "1"
        self.pull()
        (self.folder / "blobs" / self.repository.etag("model-00002-of-00002.safetensors")).unlink()
        self.assertEqual(self.run_program("pull", NAME)[0], 1)

    def test_other_folders(self):
        self.set |= {"HF_HUB_CACHE": "~/elsewhere"}
        self.assertTrue(self.pull().startswith(str(self.home / "elsewhere/models--tiny--janus/")))
        self.set = {"HF_ENDPOINT": self.hub.endpoint + "/", "HF_HOME": "$HOME/own"}
        self.assertTrue(self.pull().startswith(str(self.home / "own/hub/models--tiny--janus/")))
        self.set = {"HF_ENDPOINT": self.hub.endpoint}
        self.assertTrue(self.pull().startswith(str(self.home / "cache/huggingface/hub/models--tiny--janus/")))

    def test_through_a_proxy(self):
        self.set |= {"http_proxy": self.hub.endpoint, "no_proxy": "127.0.0.1", "HF_ENDPOINT": "http://hub.invalid"}
        self.whole(self.pull())
        self.assertEqual(len(self.hub.asked("hub GET http://hub.invalid/")), 1 + len(self.chosen))

    def test_https(self):
        certificate = self.home / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hub", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", certificate, "-out", self.home / "public.pem"],
                       check=True, stderr=subprocess.DEVNULL)
        certificate.write_bytes(certificate.read_bytes() + (self.home / "public.pem").read_bytes())
        secure = Hub({NAME: self.repository}, str(certificate))
        self.addCleanup(secure.close)
        self.set["HF_ENDPOINT"] = secure.endpoint
        self.refused(1, "certificate")
        self.set["REQUESTS_CA_BUNDLE"] = str(self.home / "public.pem")
        secure.faults = [Fault("/api/", status=302, headers={"Location": self.hub.endpoint + "/api/models/" + NAME})]
        self.refused(3, "from https to http")
        self.assertEqual(self.hub.requests, [])
        self.whole(self.pull())

    def test_a_model_by_its_repository(self):
        arguments = ("tokenize", "-m", "hf:" + NAME, "--text", "a dog")
        code, out, err = self.run_program(*arguments)
        self.assertEqual(code, 0, err)
        self.whole()
        self.hub.requests.clear()
        self.assertEqual(self.run_program(*arguments), (0, out, ""))
        self.assertEqual(self.hub.requests, [])  # whole: nobody is asked
        self.set["BIFRONS_MODEL"] = "hf:org/other"  # which -m overrides
        self.assertEqual(self.run_program(*arguments), (0, out, ""))
        self.assertEqual(self.hub.requests, [])
        self.set["BIFRONS_MODEL"] = "hf:" + NAME
        self.assertEqual(self.run_program("tokenize", "--text", "a dog", "--offline"), (0, out, ""))
        code, _, err = self.run_program("generate", "-m", "hf:" + NAME, "--seed", "1", "-q", "a dog")
        self.assertEqual((code, err), (0, ""))

    def test_a_name_that_is_no_folder(self):
        self.refused(3, "no such folder", "bifrons pull org/some-model", "-m hf:org/some-model",
                     arguments=("info", "-m", "org/some-model"))

    # ---- what goes wrong on the way

    def test_cut_connections_are_resumed(self):
        size = len(self.repository.files[WEIGHTS])
        self.hub.faults = [Fault("storage GET", times=3, cut=size // 4)]
        self.whole(self.pull())
        begins = [r.range for r in self.hub.asked("storage GET")]
        self.assertEqual(begins, [None] + [f"bytes={size // 4 * i}-" for i in (1, 2, 3)])

    def test_thirty_random_cuts(self):
        size, chance = len(self.repository.files[WEIGHTS]), random.Random(1)
        cuts = [chance.randrange(1, size // 30) for _ in range(30)]
        for i, cut in enumerate(cuts):
            self.hub.faults = [Fault("storage GET", cut=cut), Fault("storage GET", times=9, cut=0)]
            process = self.start("pull", NAME)
            partial = self.folder / "blobs" / (self.repository.etag(WEIGHTS) + ".incomplete")
            while process.poll() is None and (not partial.exists() or partial.stat().st_size < sum(cuts[: i + 1])):
                time.sleep(0.005)
            process.kill()
            process.communicate()
            self.assertEqual(partial.stat().st_size, sum(cuts[: i + 1]))
            self.nothing_whole()
        self.hub.faults = []
        self.whole(self.pull())
        self.assertEqual(self.hub.asked("storage GET")[-1].range, f"bytes={sum(cuts)}-")

    def test_a_connection_that_is_always_cut(self):
        self.hub.faults = [Fault("storage GET", cut=1000), Fault("storage GET", times=99, cut=0)]
        self.refused(1, WEIGHTS, "run again to go on where it stopped")
        self.assertLess(len(self.hub.asked("storage GET")), 10)
        self.hub.faults = []
        self.whole(self.pull())
        self.assertEqual(self.hub.asked("storage GET")[-1].range, "bytes=1000-")

    def test_signed_addresses_expire(self):
        self.hub.faults = [Fault("storage GET", cut=700_000), Fault("signature=2", times=99, status=403)]
        self.whole(self.pull())
        self.assertEqual([r.path[-1] for r in self.hub.asked("storage GET")], ["1", "2", "3"])
        self.assertEqual(self.hub.asked("storage GET")[-1].range, "bytes=700000-")

    def test_a_storage_that_refuses(self):
        self.hub.faults = [Fault("storage GET", times=99, status=403)]
        self.refused(1, WEIGHTS, "status 403")

    def test_a_server_that_cannot_resume(self):
        self.hub.faults = [Fault("storage GET", cut=700_000), Fault("storage GET", whole=True)]
        self.whole(self.pull())

    def test_what_an_earlier_run_left_is_wrong(self):
        blobs = self.folder / "blobs"
        blobs.mkdir(parents=True)
        (blobs / (self.repository.etag(WEIGHTS) + ".incomplete")).write_bytes(b"?" * 1000)
        small = self.repository.etag("config.json")
        (blobs / (small + ".incomplete")).write_bytes(b"?" * 100_000)  # longer than the file
        (blobs / self.repository.etag("tokenizer.json")).write_bytes(b"{}")  # shorter than it says
        self.whole(self.pull())

    def test_wrong_bytes(self):
        for name, fault in ((WEIGHTS, Fault("storage GET", times=1, flip=12345)),
                            ("config.json", Fault("/config.json", times=1, flip=3))):
            self.hub.faults = [fault]
            self.refused(3, name, "has not the hash", self.repository.etag(name))
            self.assertFalse((self.folder / "blobs" / self.repository.etag(name)).exists())
            self.assertFalse((self.folder / "blobs" / (self.repository.etag(name) + ".incomplete")).exists())
        self.whole(self.pull())

    def test_too_many_bytes(self):
        self.hub.faults = [Fault("storage GET", times=9, extra=b"more")]
        self.refused(3, "more than the")

    def test_a_busy_hub(self):
        self.hub.faults = [Fault("/api/", status=429, headers={"Retry-After": "1"}),
                           Fault("/resolve/", status=429, headers={"RateLimit": '"resolvers";r=0;t=1'}),
                           Fault("/resolve/", status=503)]
        begun = time.monotonic()
        self.whole(self.pull())
        self.assertGreater(time.monotonic() - begun, 2)
        self.hub.faults = [Fault("/api/", times=99, status=429, headers={"Retry-After": "0"})]
        code, _, err = self.run_program("pull", NAME)
        self.assertEqual((code, err.count("\n")), (1, 1), err)
        self.assertIn("429", err)
        self.hub.faults = [Fault("/api/", times=99, status=429, headers={"Retry-After": "86400"})]
        self.assertIn("asks to wait 86400 s", self.run_program("pull", NAME)[2])

    def test_no_room(self):
        self.repository.names = []
        listing = json.loads(self.repository.listing(NAME, True))
        for file in listing["siblings"]:
            if file["rfilename"] == WEIGHTS:
                file["lfs"]["size"] = 1 << 43
        self.hub.faults = [Fault("/api/", body=json.dumps(listing).encode())]
        self.refused(1, "needs 8796.09 GB", "are free")
        self.assertEqual(self.hub.asked("/resolve/"), [])

    def test_a_full_disk(self):
        limit = 500_000
        self.refused(1, "cannot write", "run again when there is room", before=("prlimit", f"--fsize={limit}"))
        self.whole(self.pull())
        self.assertEqual(self.hub.asked("storage GET")[-1].range, f"bytes={limit}-")

    def test_signals(self):
        self.hub.faults = [Fault("storage GET", stall=True)]
        process = self.start("pull", NAME)
        while not self.hub.asked("storage GET"):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=10)
        self.assertEqual((process.returncode, err), (130, "bifrons: interrupted\n"))
        self.assertLess(time.monotonic() - begun, 0.9)  # by itself, not by the deadline
        self.nothing_whole()
        self.whole(self.pull())

    def test_two_at_once(self):
        processes = [self.start("pull", NAME) for _ in range(3)]
        for process in processes:
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, err), (0, ""))
        self.whole(out.rstrip("\n"))
        self.assertEqual(len(self.hub.asked("storage GET")), 1)

    def test_nobody_there(self):
        self.hub.close()
        self.refused(1, "cannot be fetched from", "proxy")

    # ---- who may

    def test_the_token_stays_with_the_hub(self):
        self.repository.token = "hf_secret"
        self.set["HF_TOKEN"] = " hf_secret\n"
        self.whole(self.pull())
        self.assertEqual({r.token for r in self.hub.asked("hub ")}, {"hf_secret"})
        self.assertEqual({r.token for r in self.hub.asked("storage ")}, {None})

    def test_the_token_of_a_file(self):
        self.repository.token = "hf_kept"
        (self.home / "hf").mkdir()
        (self.home / "hf/token").write_text("hf_kept\n")
        self.whole(self.pull())
        self.set["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
        self.assertEqual(self.run_program("pull", NAME)[0], 1)

    def test_no_access(self):
        self.repository.token = "hf_secret"
        self.refused(1, "is gated", "HF_TOKEN", self.hub.endpoint + "/" + NAME)
        self.set["HF_TOKEN"] = "hf_other"
        self.refused(1, "is gated", "ask for access")
        self.hub.faults = [Fault("/api/", status=401)]
        self.refused(1, "token given", "wrong")
        self.hub.faults = [Fault("/api/", status=403)]
        self.refused(1, "not open to the token")
        self.set["HF_TOKEN"] = "two\nlines"
        self.refused(2, "one word")

    def test_not_there(self):
        self.refused(1, "tiny/other", "does not exist, or is private", arguments=("pull", "tiny/other"))
        self.set["HF_TOKEN"] = "hf_any"
        self.refused(1, "tiny/other does not exist on", arguments=("pull", "tiny/other"))
        self.refused(1, "has no revision v2", arguments=("pull", NAME + "@v2"))

    def test_what_is_whole_is_not_written(self):
        def times() -> dict[pathlib.Path, int]:
            return {path: path.lstat().st_mtime_ns for path in self.folder.rglob("*")}

        self.pull()
        before = times()
        self.whole(self.pull())
        self.assertEqual(times(), before)

    def test_offline(self):
        self.set["HF_HUB_OFFLINE"] = "1"
        self.refused(1, "is not whole", "offline")
        del self.set["HF_HUB_OFFLINE"]
        self.refused(1, "is not whole", "offline", arguments=("pull", NAME, "--offline"))
        self.refused(1, "is not whole", "offline", arguments=("info", "-m", "hf:" + NAME, "--offline"))
        self.assertEqual(self.hub.requests, [])
        self.pull()
        self.hub.requests.clear()
        self.whole(self.pull(NAME, "--offline"))
        self.whole(self.pull(NAME + "@" + self.repository.commit, "--offline"))
        self.assertEqual(self.hub.requests, [])

    # ---- what is not believed

    def test_names_that_lead_out(self):
        for name in ("../../evil.safetensors", "/etc/passwd", "a\\..\\b", "a//b", "a/./b", "", "new\nline", "config.json"):
            with self.subTest(name):
                self.repository.names = [name]
                self.refused(3, NAME)
        self.assertFalse(list(self.home.rglob("*evil*")))

    def test_listings_that_are_none(self):
        sound = json.loads(self.repository.listing(NAME, True))

        def changed(**fields) -> bytes:
            return json.dumps(sound | fields).encode()

        def entry(**fields) -> bytes:
            return changed(siblings=[{"rfilename": "config.json", "size": 1, "blobId": "a" * 40} | fields])

        for body in (b"", b"<html>", b"[]", b"[" * 100_000, changed(sha="../.."), changed(siblings=None),
                     changed(siblings=[1]), entry(size=-1), entry(size=1e300), entry(size=1 << 60), entry(blobId="../x"),
                     entry(lfs={"sha256": "A" * 64, "size": 1}), b" " * (17 << 20)):
            with self.subTest(body[:100]):
                self.hub.faults = [Fault("/api/", body=body)]
                self.refused(3)

    def test_what_is_no_model(self):
        for files, words in (({"adapter_config.json": b"{}", "adapter_model.safetensors": b"a"}, "adapter"),
                             ({"README.md": b"r"}, "no config.json"),
                             ({"config.json": b"{}", "model.gguf": b"g"}, "no weights")):
            self.hub.repositories[NAME] = Repository(files)
            self.refused(3, NAME, words)

    def test_redirects_without_end(self):
        self.hub.faults = [Fault("/api/", times=99, status=302, headers={"Location": f"/api/models/{NAME}/revision/main"})]
        self.refused(3, "redirected more than")
        self.hub.faults = [Fault("/api/", times=99, status=302, headers={"Location": "file:///etc/passwd"})]
        self.refused(3, "no address")

    def test_names_that_are_none(self):
        for name in ("janus", "a/b/c", "../x", "a--b/c", "_a-/b", "a/b.git", "a/b@../c", "a/b@", "a/b@x//y", "", "a b/c"):
            with self.subTest(name):
                self.refused(2, "ORG/NAME", arguments=("pull", name))
        self.set["HF_ENDPOINT"] = "ftp://hub"
        self.refused(2, "HF_ENDPOINT")


def run_all(cases: type[unittest.TestCase], names: list[str]) -> bool:
    """Runs the tests side by side: they mostly wait. Whether all went well."""
    def run(name: str) -> unittest.TestResult:
        result = unittest.TestResult()
        begun = time.monotonic()
        cases(name).run(result)
        print(f"{time.monotonic() - begun:5.1f} s  {name}", flush=True)
        return result

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, names))
    for result in results:
        for test, trace in result.failures + result.errors:
            print(f"FAILED {test}\n{trace}")
    return all(result.wasSuccessful() for result in results)


def main(cases: type[unittest.TestCase]) -> int:
    global PROGRAM
    PROGRAM = os.path.abspath(sys.argv[1])
    names = sys.argv[2:] or [name for name in vars(cases) if name.startswith("test_")]
    return 0 if run_all(cases, names) else 1


if __name__ == "__main__":
    sys.exit(main(Pull))
