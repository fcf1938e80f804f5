"""`make test` with its processes, in small: what belongs together is run by one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = ("agent", "db", "lab", "lab/docker")
ROOT = Path(__file__).parents[2]
TESTS = "import pytest\n@pytest.mark.parametrize('n', ['a::b', '@x', 'c/d'])\ndef test(n): pass\n"


def test_all_labs_tests_are_one_process_and_all_agents_one(tmp_path: Path) -> None:
    for folder in FOLDERS:
        (tmp_path / "tests" / folder).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "tests" / folder / f"test_{folder.replace('/', '_')}_{number}.py").write_text(TESTS)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "60 passed" in done.stdout, done.stdout + done.stderr
    ran = re.findall(r"\[(gw\d)\].* PASSED tests/(\w+)/(\S+?)::", done.stdout)
    by = {key: {worker for worker, *place in ran if key in place} for _, *place in ran for key in place}
    assert len(by["lab"]) == len(by["agent"]) == 1 and by["lab"] != by["agent"]
    assert all(len(by[file]) == 1 for file in by if file.endswith(".py"))
