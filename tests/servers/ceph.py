"""A real S3 server: Ceph's RADOS gateway on one monitor and one OSD that keeps objects in memory."""

import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

from .credentials import Credentials
from .daemon import ServerFailed, run
from .debian import unpacked
from .s3 import S3Client
from .server import Server, new_credentials

_CACHE = Path(__file__).resolve().parents[2] / "target" / "ceph"
_PACKAGES = ("radosgw", "ceph-mon", "ceph-osd")
_CONFIG = Path(__file__).with_name("ceph.conf")


@dataclass(frozen=True)
class User:
    """An S3 user of the cluster."""

    name: str
    access_key: str
    secret_key: str

    @property
    def arn(self):
        """The user as the principal of a bucket policy."""
        return f"arn:aws:iam:::user/{self.name}"


class Ceph(Server):
    """A running cluster with one user. It verifies signatures, keeps versions and delete markers, and
    answers conditional requests.

    With `session_tokens` it takes temporary credentials too, and then says AccessDenied where it would
    otherwise tell SignatureDoesNotMatch and InvalidAccessKeyId.
    Needs Debian's apt and dpkg; the packages stay in `target/ceph` for later runs.
    """

    def __init__(self, session_tokens=False):
        self._session_tokens = session_tokens
        super().__init__()

    @property
    def access_key(self):
        """The first user's access key."""
        return self.owner.access_key

    @property
    def secret_key(self):
        """The first user's secret key."""
        return self.owner.secret_key

    def create_user(self, name):
        """A new `User`, without rights on buckets of others."""
        user = User(name, *new_credentials())
        self._admin(
            "user", "create", f"--uid={name}", f"--display-name={name}",
            f"--access-key={user.access_key}", f"--secret-key={user.secret_key}",
        )
        return user

    def temporary_credentials(self, seconds=900):
        """`Credentials` of a new role that may read and write every bucket, for 900 seconds or more.

        They are accepted only with their session token, and only where `session_tokens` was asked for.
        """
        role = f"role-{uuid.uuid4().hex}"
        trust = _policy(Principal={"AWS": [self.owner.arn]}, Action=["sts:AssumeRole"])
        rights = _policy(Action=["s3:*"], Resource="arn:aws:s3:::*")
        self._admin("role", "create", f"--role-name={role}", f"--assume-role-policy-doc={trust}")
        self._admin("role-policy", "put", f"--role-name={role}", "--policy-name=all", f"--policy-doc={rights}")
        sts = S3Client(self.endpoint, self.access_key, self.secret_key, self.region, service="sts")
        response = sts.request("POST", "", body=urlencode({
            "Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": f"arn:aws:iam:::role/{role}",
            "RoleSessionName": "test", "DurationSeconds": seconds,
        }).encode(), headers={"Content-Type": "application/x-www-form-urlencoded"})
        if response.status != 200:
            raise ServerFailed(f"AssumeRole: {response.status} {response.code}")
        answer = ElementTree.fromstring(response.body).find(".//{*}Credentials")
        return Credentials(
            answer.findtext("{*}AccessKeyId"), answer.findtext("{*}SecretAccessKey"),
            answer.findtext("{*}SessionToken"), seconds,
        )

    def _start(self):
        self._root = unpacked(_PACKAGES, _CACHE)
        mon_port = self._free_port()
        fsid, osd_uuid = uuid.uuid4(), uuid.uuid4()
        mon_address = f"v1:{self.host}:{mon_port}"
        lib = next(self._root.glob("usr/lib/*/ceph")).parent
        python_path = self._root / "usr/lib/python3/dist-packages"
        self._env = {
            "PATH": os.defpath, "PYTHONPATH": str(python_path),
            "LD_LIBRARY_PATH": f"{lib}:{lib}/ceph:{self._root}/lib/{lib.name}",
        }
        (self.state / "ceph.conf").write_text(_CONFIG.read_text().format(
            fsid=fsid, host=self.host, mon_port=mon_port, port=self.port, lib=lib, state=self.state,
            session_tokens=self._session_tokens, sts_key=uuid.uuid4().hex[:16],
        ))
        for folder in ("mon", "osd", "rgw"):
            (self.state / folder).mkdir()

        monmap = self.state / "monmap"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[{mon_address}]", monmap, config=False)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._start_program("ceph-mon", "-i", "a")
        self._ceph("osd", "new", osd_uuid, 0)
        self._run("ceph-osd", "-i", 0, "--mkfs", "--osd-uuid", osd_uuid)
        self._ceph("osd", "crush", "add", "osd.0", "1.0", "host=h", "root=default")
        # It takes the first free ports from 6800 up by itself; neighbours of other runs do no harm.
        self._start_program("ceph-osd", "-i", 0)
        self._start_program("radosgw", "-n", "client.rgw").wait_until(self._answers, seconds=60)
        self.owner = self.create_user("owner")

    def _answers(self):
        self._require_running()
        return self._status() == 200

    def _require_running(self):
        for daemon in self._daemons:
            daemon.require_running()

    def _start_program(self, program, *words):
        argv = [self._root / "usr/bin" / program, "-c", self.state / "ceph.conf", "-f", *words]
        return self._start_daemon(argv, f"{program}.out", self._env)

    def _admin(self, *words):
        self._run("radosgw-admin", "-n", "client.rgw", *words)

    def _run(self, program, *words, config=True):
        argv = [self._root / "usr/bin" / program, *(("-c", self.state / "ceph.conf") if config else ()), *words]
        run(argv, log=self.state / "commands.out", env=self._env)

    def _ceph(self, *words):
        # The `ceph` command is a script for Debian's own Python, as are the bindings it loads.
        argv = ["/usr/bin/python3", self._root / "usr/bin/ceph", "-c", self.state / "ceph.conf", *words]
        deadline = time.monotonic() + 60
        while True:
            try:
                return run(argv, log=self.state / "commands.out", env=self._env)
            except ServerFailed:
                # In its first moments a monitor that is short of time refuses commands (EPERM); ours may be repeated.
                self._require_running()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
