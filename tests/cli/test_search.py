"""Finding words: search."""


def test_words_are_found_in_entries_and_items_of_one_user_and_no_other(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.add(2, "oseh_ujmk_b")
    journal.write(1, "oseh_ujmk_a", "The fog lifted at noon", "Rain all day", "fog again, and more fog")
    journal.write(2, "oseh_ujmk_b", "fog of another user")
    journal.write_item(2, "oseh_ujmk_a", {"blocks": [{"text": "a café in the fog"}, {"mood": 7}]})
    found = journal.json("search", "--user", 1, "fog")["found"]
    assert {(hit["table"], hit["rowid"]) for hit in found} == {
        ("journal_entries", 1), ("journal_entries", 3), ("journal_entry_items", 1),
    }  # fmt: skip
    # The best first.
    assert found[0]["snippet"] == "[fog] again, and more [fog]" and found[0]["day"] == "1970-01-01"
    assert [hit["snippet"] for hit in journal.json("search", "--user", 1, "CAFE")["found"]] == ["a [café] in the fog"]
    assert journal.json("search", "--user", 1, "fog", "noo")["found"][0]["rowid"] == 1
    assert journal.json("search", "--user", 1, 'fog" OR "rain')["found"] == []
    assert len(journal.json("search", "--user", 1, "--most", 1, "fog")["found"]) == 1
    assert journal.run("search", "--user", 1, "lifted") == "1970-01-01  journal_entries 1  The fog [lifted] at noon\n"


def test_what_cannot_be_read_any_more_is_counted(journal):
    journal.add(1, "oseh_ujmk_a")
    journal.add(1, "oseh_ujmk_b")
    journal.write(1, "oseh_ujmk_a", "fog")
    journal.write(1, "oseh_ujmk_b", "fog too")
    [path] = journal.store.root.rglob("oseh_ujmk_b")
    path.unlink()
    found = journal.json("search", "--user", 1, "fog")
    assert len(found["found"]) == 1 and found["unreadable"] == 1
    path.parent.rename(journal.folder / "away")
    journal.store.root.rename(journal.folder / "gone")
    journal.run("search", "--user", 1, "fog", status=3)
