"""rqlite takes its archive of `make dist` as it is: its page's block, run."""

import json
import shutil
from urllib.request import urlopen

from packages.built import PACKAGE, Example, release_archive
from servers.daemon import Daemon
from servers.port import LOOPBACK, Port

from .cluster import PATIENCE


def test_a_node_takes_its_archive(program, tmp_path):
    command, _ = Example("rqlite").only("sh")
    shutil.copy(release_archive("-rqlite"), tmp_path)
    http, raft = Port(), Port()
    # The page's command, on ports of ours.
    rqlited = tmp_path / "rqlited"
    rqlited.write_text(
        f'#!/bin/sh\nexec "{program}" -http-addr {LOOPBACK}:{http.number} -raft-addr {LOOPBACK}:{raft.number} "$@"\n'
    )
    rqlited.chmod(0o755)
    node = Daemon(
        ["bash", "-euc", f"cd '{tmp_path}' && exec {command}"], log=tmp_path / "log", env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )

    def ask(path):
        with urlopen(f"http://{LOOPBACK}:{http.number}{path}", timeout=PATIENCE) as answer:
            return answer.read()

    def ready():
        try:
            return ask("/readyz")
        except OSError:
            return False

    try:
        node.wait_until(ready, seconds=PATIENCE)
        [result] = json.loads(ask("/db/query?level=none&q=SELECT%20journal_version()"))["results"]
        assert result["values"] == [[PACKAGE["version"]]]
    finally:
        node.stop()
        http.close()
        raft.close()
