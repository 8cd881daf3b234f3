"""The judge of the course kit: who passes, who fails, and what is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from course.command import main
from course.judge import Attempts
from course.rules import RULES
from course.stages import STAGES, plan_of
from tests.course.mistakes import MISTAKES, SOLVED, Mistake

ROOT = Path(__file__).parents[2]
KIT = ROOT / "course"
SEEDS = "0-1"
SEEDS_MAX = 25  # within which each mistake must be caught


def judged(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> tuple[int, str]:
    """Return the exit code, and what was printed to stdout."""
    code = main([str(path), *options])
    return code, capsys.readouterr().out


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


def solution_with(right: str, wrong: str) -> str:
    return Mistake("", 1, "", right, wrong).text()


@pytest.mark.parametrize("path", [KIT / "reference.py", SOLVED], ids=["the core", "a student"])
def test_a_right_core_passes_every_stage(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    code, told = judged(capsys, path, "--seeds", SEEDS)
    assert code == 0
    assert told.splitlines() == [f"Stage {stage.number} ({stage.title}): 2 seeds passed." for stage in STAGES]


def test_the_empty_exercise_is_told_what_to_write_first(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = judged(capsys, KIT / "exercise.py", "--seeds", SEEDS)
    assert code == 1
    assert "Stage 1 (election): seed 0 fails." in told
    assert re.search(r"`ready` of 5000: stage 1: `ready` says what to save and to send", told)
    assert re.search(r"exercise\.py, line \d+, in ready", told)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_of_students_is_caught_by_the_rule_that_it_breaks(tmp_path: Path, mistake: Mistake) -> None:
    path = written(tmp_path, mistake.text())
    stage = STAGES[mistake.stage - 1]
    attempts = Attempts(path, stage, limit_s=60)
    for seed in (mistake.seed, *range(SEEDS_MAX)):
        failure = attempts.run(plan_of(seed, stage))
        if failure is not None:
            assert failure.promise == mistake.promise, failure
            assert failure.promise in RULES
            return
    pytest.fail(f"{SEEDS_MAX} seeds passed")


def test_a_failing_seed_is_told_as_a_story_that_ends_in_a_rule(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = written(tmp_path, solution_with("free = self.voted_for in (None, request.sender)", "free = True"))
    code, told = judged(capsys, path, "--stage", "1", "--seed", "1")
    assert code == 1
    lines = told.splitlines()
    assert re.fullmatch(r"Stage 1 \(election\): seed \d fails\.", lines[0])
    events = [line for line in lines if re.match(r" +\d+\.\d{6} \w", line)]
    assert 3 <= len(events) <= 40
    assert any("is a candidate in term" in line for line in events)
    assert "was to do this: save term" in events[-1]
    assert "Broken: a vote is kept in its term." in lines
    assert any(line.startswith("Rule (5.2 and Figure 2): A server votes for at most one") for line in lines)
    assert re.fullmatch(rf"Again: python -m course {path} --stage 1 --seed \d", lines[-1])


def test_the_same_seed_tells_the_same_in_two_processes(tmp_path: Path) -> None:
    text = solution_with(
        "for peer in self.config.peers:\n            request",
        "for peer in set(self.config.peers):\n            request",
    )
    text = text.replace("self.is_majority(len(self.votes))", "len(self.votes) > 0")
    path = written(tmp_path, text)
    command = [sys.executable, "-m", "course", str(path), "--stage", "1", "--seed", "1"]
    told = []
    for seed_of_hashes in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed_of_hashes}
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == 1, ran.stderr
        told.append(ran.stdout)
    assert told[0] == told[1]
    assert "Broken: " in told[0]
    assert "the same each time" not in told[0]


def test_chance_from_elsewhere_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    timeout = "self.random(self.config.election_ticks_min, self.config.election_ticks_max)"
    text = solution_with(timeout, "secrets.choice(range(9, 12))").replace(
        "self.is_majority(len(self.votes))", "False"
    )
    text = text.replace("from collections.abc", "import secrets\nfrom collections.abc", 1)
    path = written(tmp_path, text)
    code, told = judged(capsys, path, "--stage", "1", "--seed", "0")
    assert code == 1
    assert "Broken: the same each time." in told


@pytest.mark.parametrize(
    ("method", "wrong", "told_of"),
    [
        ("tick", "while True:\n            self.elapsed += 1", "did not end within the 1 s"),
        ("tick", "[].pop()", "IndexError: pop from empty list"),
        ("ready", "return Ready(hard_state=HardState(), role=self.role, leader=None)", "200 times in a row"),
        ("tick", "raise SystemExit(0)", "SystemExit: 0"),
        ("ready", "return 5", "`ready` of 5000 returned 5"),
        (
            "tick",
            'self.send("5009", vote_response(self.config.node_id, 1, granted=True))',
            "no Outgoing to a server",
        ),
        (
            "tick",
            'self.send("5001", vote_response(self.config.node_id, "1", granted=True))',
            "of wrong types",
        ),
        ("tick", 'self.send("5001", vote_response("5001", 1, granted=True))', "sends in the name of '5001'"),
        ("tick", "self.term = 2.5", "role, term and commit_index"),
    ],
)
def test_what_no_core_may_do_is_told_and_not_waited_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, method: str, wrong: str, told_of: str
) -> None:
    text = SOLVED.read_text(encoding="utf-8")
    changed, count = re.subn(rf"(    def {method}\(self\) -> .*:\n)", rf"\1        {wrong}\n", text)
    assert count == 1
    code, told = judged(capsys, written(tmp_path, changed), "--stage", "1", "--seed", "0", "--limit", "1")
    assert code == 1
    assert told_of in told
    if "while" in wrong or "pop" in wrong:
        assert re.search(rf"mine\.py, line \d+, in {method}: ", told)


def test_a_loop_that_catches_everything_ends_the_process(tmp_path: Path) -> None:
    catching = ("import time", "while True:", "    try: time.sleep(60)", "    except: pass")
    loop = "".join(f"        {line}\n" for line in catching)
    text = re.sub(r"(    def tick\(self\) -> None:\n)", rf"\1{loop}", SOLVED.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "course", str(written(tmp_path, text)), "--limit", "0.3"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert "catches every exception" in ran.stdout


@pytest.mark.parametrize(
    ("text", "told_of"),
    [("x = 1\n", "has no class StudentRaft"), ("def (\n", "SyntaxError"), ("import nowhere\n", "line 1")],
)
def test_a_file_that_cannot_be_judged_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, told_of: str
) -> None:
    code, told = judged(capsys, written(tmp_path, text))
    assert code == 1
    assert told_of in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["nowhere.py"], ["--stage", "9", "x.py"], ["--limit", "0", "x.py"], ["--seeds", "5-3", str(SOLVED)], []],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_every_promise_of_the_judge_and_of_the_checks_that_a_student_can_break_has_a_rule() -> None:
    sources = [*KIT.glob("*.py"), ROOT / "tests" / "support" / "checks.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r'require\([^"]*?,\s+"([^"]+)"', text)) | set(
        re.findall(r'promise(?:, \w+)* = "([^"]+)"', text)
    )
    beyond = {name for name in named if "snapshot" in name or "install" in name or "voter" in name}
    beyond.add("what is due is ended at once, by one command")
    assert "election safety" in named
    assert named - beyond - RULES.keys() == set()
