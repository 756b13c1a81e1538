"""Whatever a store does, no secret stands in what is told of it."""

from cryptography.fernet import Fernet
from scene import KEY_UID
from servers import faults
from servers.relay import ConnectProxy

from .answers import LASTING, PASSING, wait_for
from .https import PASSWORD


def test_no_secret_stands_in_any_error_or_log(scene, behind):
    """`Scene` and `Child` look after every test; this one makes them look at what SQLite logs for every fault."""
    fernet = Fernet(scene.add_key())
    scene.secrets.append(token := fernet.encrypt(b"a most private text").decode())
    scene.secrets.append("a most private text")
    every = [*PASSING, *LASTING, faults.NO_SUCH_KEY, faults.Garbage(), faults.WrongLength(by=-5), faults.HugeBody(1 << 20)]
    with ConnectProxy((behind.host, behind.port), credentials=f"user:{PASSWORD}") as proxy:
        child = scene.child(
            "apsw", **behind.env, AWS_SESSION_TOKEN="the-session-token", JOURNAL_FETCH_TIMEOUT="2",
            HTTPS_PROXY=f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}",
        )
        # Ceph as it is here takes no session token, so that the answers below come from the faults alone.
        for fault in every:
            scene.proxy.faults = faults.always(fault)
            child.run("SELECT journal_evict()")
            wait_for(lambda: scene.proxy.forget() or child.error("SELECT journal_decrypt(1, NULL, ?)", token) and scene.proxy.count())
            child.error("SELECT journal_decrypt(1, ?, 'x')", "a most private text")
            child.error("SELECT journal_decrypt(?, ?, 'x')", "a most private text", KEY_UID)
        # By parameters all along: SQLite itself logs the text of a statement that fails.
        child.run("SELECT journal_evict()")
        scene.proxy.faults = faults.always(faults.INTERNAL_ERROR)
        child.error("SELECT journal_encrypt(1, ?)", "a most private text")
    logged = child.stderr()
    assert "fetch tried again" in logged and f'fetch of key "{KEY_UID}" failed' in logged
