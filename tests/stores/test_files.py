"""The directory store where file systems differ: long names, drives, and files that another process has open."""

import shutil

import pytest
from conftest import ROOT, WINDOWS, new_key
from host import Host
from stores import ADMIN, Folder, admin, opened

LONG = "/".join(letter * 150 for letter in "abcde") + "/"


@pytest.fixture
def folder(request):
    with opened("directory", request) as folder:
        yield folder


@pytest.mark.skipif(WINDOWS, reason="past 260 characters Wine 8 tells no file's path by its handle, as Windows does")
def test_a_name_of_800_characters_is_made_read_disabled_and_shredded(users, folder):
    with admin(users, folder, JOURNAL_KEY_PREFIX=LONG) as host:
        uid = host.value("SELECT journal_rotate_key(1)")
        assert (folder.root / LONG / uid).exists()
        token = host.value("SELECT journal_encrypt(1, 'dear diary')")
        host.value("SELECT journal_disable_key(1, ?)", uid)
        assert host.value("SELECT journal_check(1, ?, ?)", uid, token) == "key_disabled"
        host.value("SELECT journal_enable_key(1, ?)", uid)
        assert host.value("SELECT journal_decrypt(1, ?, ?)", uid, token) == "dear diary"
        host.value("SELECT journal_shred_key(1, ?)", uid)
    assert list((folder.root / LONG).iterdir()) == []


def test_readers_find_a_key_at_each_moment_of_its_replacement(users, folder, tmp_path):
    keys = [new_key(), new_key()]
    for name, lines in ("first", keys), ("second", reversed(keys)):
        (tmp_path / name).write_text("\n".join(lines))
    hosts = [admin(users, folder, JOURNAL_WRAPPING_KEY_FILE=str(tmp_path / name)) for name in ("first", "second", "first", "second")]
    try:
        uid = hosts[0].value("SELECT journal_rotate_key(1)")
        token = hosts[0].value("SELECT journal_encrypt(1, 'dear diary')")
        # Each round fetches it anew.
        rounds = """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
            SELECT sum((journal_evict(?1) >= 0) + (journal_decrypt(1, ?1, ?2 || substr(i, 1, 0)) = 'dear diary')) FROM n
        """
        readers = [host.start(rounds, uid, token) for host in hosts[2:]]
        # They read while another process has the file open, and it is replaced while they have.
        for turn in range(40):
            hosts[turn % 2].value("SELECT journal_wrap_key(1, ?)", uid)
        assert [reader() for reader in readers] == [[[400]], [[400]]]
    finally:
        for host in hosts:
            host.close()
    assert folder.uids() == {uid}


@pytest.mark.skipif(not WINDOWS, reason="drives are Windows's")
class TestDrives:
    def test_the_key_store_is_a_directory_of_a_drive(self, users):
        folder = ROOT / "target/wine/drive_c/the keys"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with Host(users.path, {"JOURNAL_KEY_STORE": "file:///C:/the%20keys", **ADMIN}) as host:
            uid = host.value("SELECT journal_rotate_key(1)")
            assert host.value("SELECT journal_decrypt(1, NULL, journal_encrypt(1, 'dear diary'))") == "dear diary"
            [[status]] = host.run("SELECT status FROM journal_doctor WHERE name = 'store'")
            assert status == "ok"
            assert [path.name for path in folder.rglob("oseh_*")] == [uid]
            host.value("SELECT journal_shred_key(1, ?)", uid)
        assert [path.name for path in folder.rglob("oseh_*")] == []

    @pytest.mark.parametrize("prefix", ["C:/windows/", "s3_files/x:", "C:"])
    def test_a_colon_leads_to_no_drive_and_no_other_stream(self, prefix, users, folder):
        users.add_key(1, "oseh_ujmk_1", prefix=prefix)
        with admin(users, folder, JOURNAL_KEY_PREFIX=prefix) as host:
            for call in ("journal_encrypt(1, 'x')", "journal_disable_key(1, 'oseh_ujmk_1')", "journal_shred_key(1, 'oseh_ujmk_1')"):
                assert host.error(f"SELECT {call}").endswith("its object's name is no path")
