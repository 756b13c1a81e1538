"""An application's process on a cluster, for test_sealing.py: a command a line in JSON, an answer a line.

It logs all that rqdb can log, and a slow-query hook formats the arguments of every request.
"""

import json
import logging
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location

import rqdb
from rqdb.logging import LogConfig


def slow(*arguments, **named):
    logging.warning("slow query %r %r", arguments, named)


def main():
    script, *nodes = sys.argv[1:]
    spec = spec_from_file_location("rqlite_journal", script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    config = LogConfig(slow_query={"enabled": True, "threshold_seconds": 0, "method": slow})

    def journal(user, among=nodes):
        # A cursor of its own for each thread; results of one are not another's.
        return module.Journal(rqdb.connect(among, timeout=30, log=config).cursor(), user, freshness="1h")

    def race(user, writers):
        together, failed = threading.Barrier(writers), []

        def write(number):
            try:
                mine = journal(user)
                assert not mine._keys()
                together.wait()
                mine.write(f"racing {number}")
            except BaseException as error:
                logging.exception("a writer failed")
                failed.append(repr(error))
                together.abort()

        threads = [threading.Thread(target=write, args=[number]) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failed

    for line in sys.stdin:
        action, user, *arguments = json.loads(line)
        try:
            if action == "race":
                answer = race(user, *arguments)
            elif action == "read_at":
                answer = journal(user, arguments).read("none")
            else:
                answer = getattr(journal(user), action)(*arguments)
            print(json.dumps({"answer": answer}), flush=True)
        except Exception as error:
            # All that a log would hold of it: the chain, and the frames.
            logging.exception("%s failed", action)
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


main()
