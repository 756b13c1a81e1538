"""Debian packages, unpacked into a folder and never installed."""

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager

from .daemon import ServerFailed

# Dependencies also bring programs, some setuid, that no daemon of ours needs; they stay packed.
_UNPACKED = ("ceph-", "radosgw", "lib", "python3-")


def unpacked(packages, cache):
    """The folder with the packages' files; the network is used once for each `cache` folder.

    `cache` keeps the package files in `debs` and the result in `root`. Several runs may share it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "root"
    with _locked(cache / "lock"):
        if not root.exists():
            _unpack(_download(packages, cache), root)
    return root


def _download(packages, cache):
    debs, complete = cache / "debs", cache / "debs.complete"
    if complete.exists():
        return debs
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    # Nothing of the system's is written, so neither root nor apt's own locks are needed.
    options = ["-o", f"Dir::Cache::archives={debs}", "-o", "Debug::NoLocking=1"]
    fetch = ["install", "--yes", "--no-install-recommends", "--download-only", *packages]
    if not _apt_get(options, fetch):
        # The system's lists are missing or older than the archive: take lists of our own.
        lists = cache / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        options += ["-o", f"Dir::State::lists={lists}"]
        _apt_get(options, ["update"], required=True)
        _apt_get(options, fetch, required=True)
    complete.touch()
    return debs


def _apt_get(options, words, required=False):
    argv = ["apt-get", *options, *words]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if required and done.returncode:
        raise ServerFailed(f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-2000:]}")
    return done.returncode == 0


def _unpack(debs, root):
    unfinished = root.with_name("root.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for deb in sorted(debs.glob("*.deb")):
        if deb.name.startswith(_UNPACKED):
            subprocess.run(["dpkg", "-x", deb, unfinished], check=True)
    unfinished.rename(root)


@contextmanager
def _locked(path):
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
