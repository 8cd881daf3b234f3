"""Processor time of processes and of all that they began."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import usage
from bench.usage import PROC_SELF, processor_s_of_all

WORK = "import time\nwhile time.process_time() < {seconds}: pass\n"
# A parent with a child that has ended, and one that still runs; the grandchild is what works.
PARENT = f"""
import subprocess, sys
work = {WORK.format(seconds=0.3)!r}
subprocess.run([sys.executable, "-c", work])
running = subprocess.Popen(
    [sys.executable, "-c", work + "print(flush=True)\\ninput()"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
)
running.stdout.readline()
print(flush=True)
sys.stdin.read()
"""

needs_proc = pytest.mark.skipif(not PROC_SELF.exists(), reason="there is no /proc here")


@needs_proc
def test_what_descendants_use_counts_whether_they_run_or_have_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        used_s = processor_s_of_all([parent.pid])
        assert 0.6 <= used_s < 2.0
        assert processor_s_of_all([]) == 0.0
        everything_s = processor_s_of_all([parent.pid, os.getpid()])
        assert everything_s >= used_s + 0.05, "this process counts, and its child once"
        assert everything_s < 2 * used_s + processor_s_of_all([os.getpid()]) - used_s + 0.1
        parent.communicate()


def test_without_proc_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(usage, "PROC_SELF", tmp_path / "self")
    assert math.isnan(processor_s_of_all([os.getpid()]))
