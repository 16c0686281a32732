"""Runs `senas-bench` command lines in forked processes that are killed, or find the disk full, where they are told.

A script, not a test: it imports everything once and reads jobs from stdin, one JSON object a line:

    arguments   the command line
    log         file for stdout and stderr
    after       seconds after which the process is killed; null for never
    point       number of the write point at which the fault strikes, from 1; null for never
    fault       "kill"; "full": from that point on every write fails as on a full disk; "once": only that one does

For each it prints `{"status": exit status, negative for a signal, "seconds": ..., "points": write points passed}`.
A write point is one call on the way of `senas_bench.files.atomic_file`: open, write (of which half is done when the
fault strikes), fsync, replace, fsync of the folder.
"""

import builtins
import contextlib
import errno
import json
import os
import signal
import sys
import time

from senas_bench import files


class Fault:
    """Counts write points, and strikes at one of them."""

    def __init__(self, point, what, counter):
        self.point, self.what, self.counter, self.passed = point, what, counter, 0

    def strikes(self) -> bool:
        self.passed += 1
        os.pwrite(self.counter, b"%10d" % self.passed, 0)
        if self.point is None or self.passed < self.point:
            return False
        return self.what == "full" or self.passed == self.point

    def strike(self):
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, "No space left on device")

    def install(self):
        os.fsync, os.replace = self.before(os.fsync), self.before(os.replace)
        files.open = lambda *arguments: Half(self.before(builtins.open)(*arguments), self)

    def before(self, real):
        def call(*arguments):
            if self.strikes():
                self.strike()
            return real(*arguments)

        return call


class Half:
    """A file that is half written when the fault strikes a write."""

    def __init__(self, file, fault):
        self.file, self.fault = file, fault

    def write(self, data):
        if self.fault.strikes():
            self.file.write(bytes(data)[: len(data) // 2])
            self.file.flush()
            self.fault.strike()
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def warm() -> None:
    """Import what commands import, and make the embedded preset quick; every phase is saved after each epoch."""
    from dataclasses import replace

    import matplotlib.figure  # noqa: F401
    import torch._dynamo  # noqa: F401, the first step of an optimizer imports it

    import senas_bench.analysis.artefacts  # noqa: F401
    from senas_bench.data.readers import read_digits
    from senas_bench.experiments import executors, run  # noqa: F401
    from senas_bench.experiments.presets import PRESETS
    from senas_bench.groundtruth import load_ground_truth
    from senas_bench.methods import METHODS, se_nas
    from senas_bench.training import loop
    from senas_bench.training.recipe import TrainingRecipe

    read_digits()
    load_ground_truth()
    method = METHODS["se-nas"]
    METHODS["se-nas"] = replace(method, criterion=replace(method.criterion, per_operator=4))
    se_nas.RANK_LIMIT = 50
    PRESETS["embedded"] = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=50,
        score_batch=50,
        calibration_images=50,
        recipes={**PRESETS["embedded"].recipes, "reference": TrainingRecipe((1, 1, 1), 256, snapshots=2)},
    )
    loop.CHECKPOINT_SECONDS = 0.0


def command(job, counter) -> None:
    """The life of the forked process."""
    from senas_bench.cli import main

    with builtins.open(job["log"], "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv = ["senas-bench", *job["arguments"]]
    code = 1
    try:
        Fault(job["point"], job["fault"], counter).install()
        main()
    except SystemExit as stop:
        code = stop.code
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run(job) -> dict:
    counter = os.memfd_create("points")
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        command(job, counter)
    if job["after"] is not None:
        time.sleep(job["after"])
        os.kill(child, signal.SIGKILL)  # a process that has ended is not waited for yet, so the id is still its own
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds, points = time.monotonic() - began, int(os.pread(counter, 10, 0) or 0)
    os.close(counter)
    return {"status": status, "seconds": seconds, "points": points}


if __name__ == "__main__":
    warm()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
