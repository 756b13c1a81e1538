"""A server process that cannot outlive the test run."""

import ctypes
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

# The kernel sends PDEATHSIG when the *thread* that forked ends, so every child is forked by one
# thread that lives as long as the interpreter.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ServerFailed(RuntimeError):
    """A server did not start, or a command that sets it up failed; the text ends with its log."""


def spawn(argv, *, log, env=None):
    """A child process that writes to the file `log` and is killed when this process ends in any way."""
    parent = os.getpid()

    def die_with_parent():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before prctl could take effect
            os._exit(1)

    with open(log, "ab") as out:
        # A session of its own: Ctrl-C reaches the tests alone, and they stop the daemons in order.
        return _spawner.submit(
            subprocess.Popen, [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env=env, start_new_session=True, preexec_fn=die_with_parent,
        ).result()


def run(argv, *, log, env=None, seconds=30):
    """Runs a command to its end; raises `ServerFailed` unless it succeeds within `seconds`."""
    process = spawn(argv, log=log, env=env)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        status = f"no end after {seconds} s"
    finally:
        _kill(process)
    if status != 0:
        raise ServerFailed(f"{argv[0]}: {status}\n{tail(log)}")


class Daemon:
    """A running server process and its log."""

    def __init__(self, argv, *, log, env=None):
        self.name = os.path.basename(argv[0])
        self.log = log
        self._process = spawn(argv, log=log, env=env)

    @property
    def pid(self):
        """Process id."""
        return self._process.pid

    def require_running(self):
        """Raises `ServerFailed` if the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise ServerFailed(f"{self.name} ended with {status}\n{tail(self.log)}")

    def wait_until(self, ready, *, seconds):
        """Polls `ready()`; raises `ServerFailed` if the process ends first or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.require_running()
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} not ready after {seconds} s\n{tail(self.log)}")
            time.sleep(0.02)

    def stop(self):
        """Kills the process; its state is thrown away, so there is nothing to save."""
        _kill(self._process)


def tail(log, lines=30):
    """The last lines of a log file."""
    with open(log, errors="replace") as text:
        return "".join(text.readlines()[-lines:])


def _kill(process):
    process.kill()
    process.wait()
