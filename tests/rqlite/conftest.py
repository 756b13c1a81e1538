"""Three nodes, a bucket on Ceph and a journal, once for the run; and what the run came to."""

import os
import shutil
import time

import pytest

from .cluster import Cluster
from .journal import Bucket, Journal

_run = {}


@pytest.fixture(scope="session")
def program():
    """The rqlited to test against; without one nothing here can be tested."""
    wanted = os.environ.get("RQLITED", "rqlited")
    program = shutil.which(wanted)
    if program is None:
        pytest.exit(f"There is no {wanted} here: make test-rqlite says what to do.", returncode=1)
    return program


@pytest.fixture(scope="session")
def bucket(program, ceph):
    return Bucket(ceph)


@pytest.fixture(scope="session")
def cluster(program, bucket, tmp_path_factory):
    start = time.monotonic()
    with Cluster(program, tmp_path_factory.mktemp("cluster"), bucket) as cluster:
        status = cluster.leader().status()
        _run.update(cluster=cluster, start=start, rqlite=status["build"]["version"],
                    sqlite=cluster.leader().value("SELECT sqlite_version()"))
        yield cluster


@pytest.fixture(scope="session")
def journal(cluster, bucket):
    journal = Journal(cluster, bucket)
    journal.create_tables()
    return journal


@pytest.fixture
def user(journal):
    """A new user of the cluster, with a key that every node knows of."""
    user = journal.add_user()
    journal.cluster.same_everywhere()
    return user


@pytest.fixture
def fault(journal):
    """For a test that does harm: afterwards the nodes hold the same bytes and every entry reads back."""
    yield
    journal.check()
    assert len(journal.cluster.running) == 3


def pytest_terminal_summary(terminalreporter):
    if _run:
        counts = Journal.counts
        faults = [r for r in terminalreporter.getreports("passed") if "test_faults" in r.nodeid]
        terminalreporter.write_line(
            f"rqlite {_run['rqlite']}, SQLite {_run['sqlite']}: 3 nodes and {counts.joined} that joined, "
            f"{len(faults)} faults survived, {counts.written} entries written and acknowledged, "
            f"{counts.read_back} times one read back, {counts.lost} lost, {counts.diverged} diverged, "
            f"{time.monotonic() - _run['start']:.0f} s"
        )
