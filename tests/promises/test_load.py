"""A short form of `make load`."""

from . import load


def test_workers_under_load_with_a_store_that_stalls_give_no_wrong_entry(tmp_path):
    load.verdict(load.run(5.0, tmp_path))
