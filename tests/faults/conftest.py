"""What the fault tests share. `SENAS_FAULTS=full` (`make faults`) runs all of them at full size."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TABLE3 = ["reproduce", "table3", "--no-timing", "--jobs", "1", "--curve-points", "0", "--device", "cpu"]


@pytest.fixture(scope="session")
def senas(tmp_path_factory):
    """Call with arguments of `senas-bench reproduce table3`; see `forked.py` for the rest and for what comes back.

    The log of the process is added as `log`.
    """
    home = tmp_path_factory.mktemp("forked")
    environment = {**os.environ, "SENAS_HOME": str(home / "home"), "OMP_NUM_THREADS": "1", "SENAS_OFFLINE": "1"}
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("forked.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=home,
    )

    def call(*arguments, after=None, point=None, fault="kill"):
        log = home / "log"
        command = [*TABLE3, *map(str, arguments)]
        job = {"arguments": command, "log": str(log), "after": after, "point": point, "fault": fault}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return {**json.loads(server.stdout.readline()), "log": log.read_text()}

    yield call
    server.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(10)
    server.kill()
    server.stdout.close()


@pytest.fixture(scope="session")
def hashes():
    """Call with a results folder: sha256 of every artefact and score file, and of each record without what depends on
    the machine; by name. Files of other kinds, such as work that a killed process left, are no results."""

    def of(folder: Path) -> dict[str, str]:
        found = {}
        for path in sorted(folder.glob("*/*")):
            if path.parent.name == "work" or path.name.startswith("."):
                continue
            data = path.read_bytes()
            if path.parent.name == "runs" and path.suffix == ".json":
                data = json.dumps({**json.loads(data), "timing": 0, "provenance": 0}).encode()
            found[f"{path.parent.name}/{path.name}"] = hashlib.sha256(data).hexdigest()
        return found

    return of
