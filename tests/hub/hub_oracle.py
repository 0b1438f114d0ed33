"""The hub's own client as the oracle: bifrons pull and huggingface_hub on the same server make the same cache, and each
goes on with what the other left.

  hub_oracle.py BIFRONS

requirements: huggingface_hub==0.36.0
"""
import os
import pathlib
import stat
import sys
import threading
import unittest.mock

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # before the import, which reads it

from huggingface_hub import constants, hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache

import pull_test
from hub_server import Fault
from pull_test import NAME, WEIGHTS


def tree(folder: pathlib.Path) -> dict[str, tuple]:
    """Everything of a repository's cache: kinds, modes, link targets, contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name, mode = str(path.relative_to(folder)), path.lstat().st_mode
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[name] = (stat.filemode(mode), what)
    return found


class Oracle(pull_test.Pull):
    downloading = threading.Lock()  # tests run side by side, and of tqdm's downloads at once each deletes one lock

    def setUp(self) -> None:
        super().setUp()
        self.theirs = self.home / "theirs"
        self.their_folder = self.theirs / "models--tiny--janus"

    def download(self, **settings) -> str:
        with self.downloading:
            return snapshot_download(NAME, endpoint=self.hub.endpoint, cache_dir=self.theirs,
                                     allow_patterns=sorted(self.chosen), **settings)

    def share_cache(self) -> None:
        """From now on both work on one folder."""
        self.set["HF_HUB_CACHE"] = str(self.theirs)
        self.folder = self.their_folder

    def test_the_same_cache(self):
        self.repository.revisions["refs/pr/1"] = self.repository.commit
        for revision in ("main", "refs/pr/1", self.repository.commit):
            self.pull(f"{NAME}@{revision}")
            self.download(revision=revision)
        self.assertEqual(tree(self.folder), tree(self.their_folder))
        locks = [{p.name for p in (cache / ".locks/models--tiny--janus").iterdir()}
                 for cache in (self.folder.parent, self.theirs)]
        self.assertEqual(*locks)

    def test_they_read_ours(self):
        self.share_cache()
        snapshot = self.pull()
        self.hub.close()
        self.assertEqual(self.download(local_files_only=True), snapshot)
        for name in self.chosen:
            path = hf_hub_download(NAME, name, cache_dir=self.theirs, local_files_only=True)
            self.assertEqual(pathlib.Path(path).read_bytes(), self.repository.files[name])
            self.assertEqual(try_to_load_from_cache(NAME, name, cache_dir=self.theirs), path)
        scanned = scan_cache_dir(self.theirs)
        self.assertEqual((len(scanned.repos), scanned.warnings), (1, []))
        self.assertEqual(scanned.size_on_disk, sum(len(self.repository.files[name]) for name in self.chosen))

    def test_we_read_theirs(self):
        self.share_cache()
        snapshot = self.download()
        self.hub.close()
        self.assertEqual(self.pull(NAME, "--offline"), snapshot)
        code, _, err = self.run_program("info", "-m", "hf:" + NAME)
        self.assertEqual((code, err), (0, ""))

    def test_they_go_on_with_ours(self):
        self.share_cache()
        self.hub.faults = [Fault("storage GET", cut=700_000), Fault("storage GET", times=99, cut=0)]
        self.refused(1, WEIGHTS)
        self.hub.faults = []
        self.whole(self.download())
        self.assertEqual(self.hub.asked("storage GET")[-1].range, "bytes=700000-")

    def test_we_go_on_with_theirs(self):
        self.share_cache()
        self.hub.faults = [Fault("storage GET", cut=700_000), Fault("storage GET", times=99, status=403)]
        with unittest.mock.patch.object(constants, "DOWNLOAD_CHUNK_SIZE", 100_000), self.assertRaises(Exception):
            self.download()
        self.hub.faults = []
        self.whole(self.pull())
        self.assertEqual(self.hub.asked("storage GET")[-1].range, "bytes=700000-")

    def test_new_commits(self):
        self.share_cache()
        self.download()
        old = self.repository.commit
        self.repository.files["config.json"] += b"\n"
        self.repository.commit = self.repository.revisions["main"] = "1" * 40
        self.repository.revisions["1" * 40] = "1" * 40
        self.hub.requests.clear()
        snapshot = self.pull()
        self.assertEqual(self.hub.asked("storage GET"), [])  # of the weights there is nothing new
        self.assertEqual(self.download(local_files_only=True), snapshot)
        self.assertEqual((self.folder / "refs/main").read_text(), "1" * 40)
        self.assertTrue((self.folder / "snapshots" / old / WEIGHTS).is_file())


if __name__ == "__main__":
    sys.exit(pull_test.main(Oracle))
