"""A host process that can be killed, and be left waiting for an answer."""

from threading import Thread

from child import Child
from conftest import LIBRARY, PLATFORM, RUNNER, RUST_HOST


class Host(Child):
    """A `Child` of the library; `module` is its driver, `sqlite3` or `apsw`. On another platform it is the Rust host."""

    def __init__(self, path, env, module="sqlite3"):
        command = {"command": [*RUNNER, RUST_HOST]} if PLATFORM else {}
        super().__init__(path, LIBRARY, env, host=module, **command)
        self._killed = False
        self.value("SELECT 1")  # the extension is loaded, or this raises

    @property
    def pid(self):
        """Its process id."""
        return self._process.pid

    def start(self, sql, *values):
        """Starts a statement; the function that is returned waits for its rows."""
        outcome = []

        def run():
            try:
                outcome.append((self.run(sql, *values), None))
            except Exception as error:
                outcome.append((None, error))

        thread = Thread(target=run, daemon=True)
        thread.start()

        def rows():
            thread.join(timeout=self.PATIENCE)
            [(found, error)] = outcome
            if error:
                raise error
            return found

        return rows

    def kill(self):
        """Ends the process at once, as a power cut would. A statement that is running raises RuntimeError."""
        self._killed = True
        self._process.kill()
        self._process.wait()

    def close(self):
        """As `Child.close`; one that was killed may end as it likes."""
        if not self._killed:
            return super().close()
        self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()
