"""A pause before the end: disable, enable."""


def test_a_disabled_users_tokens_are_neither_read_nor_lost_until_they_are_enabled(journal):
    for user in (1, 2):
        for number in range(3):
            journal.add(user, f"oseh_ujmk_{user}{number}", float(number))
            journal.write(user, f"oseh_ujmk_{user}{number}", f"user {user}, text {number}")
    assert journal.json("disable", "--user", 1, "--dry-run")["changed"] == 0
    assert journal.json("disable", "--user", 1) == {"user": 1, "keys": 3, "changed": 3, "dry_run": False}
    assert journal.json("disable", "--user", 1)["changed"] == 0
    found = journal.json("audit", status=1)
    assert found["tokens"] == {"readable": 3, "disabled": 3}
    assert found["objects_without_row"] == found["keys_without_object"] == []
    assert journal.json("enable", "--user", 1) == {"user": 1, "keys": 3, "changed": 3, "dry_run": False}
    assert journal.json("audit")["tokens"] == {"readable": 6}
    # What is disabled can be erased at once.
    journal.run("disable", "--user", 1)
    assert journal.json("erase", "--user", 1, "--yes")["complete"] is True
    assert journal.run("disable", "--user", 1, status=1) == "journal-crypt: user 1 has no key\n"
    assert journal.json("audit", "--user", 2)["tokens"] == {"readable": 3}
