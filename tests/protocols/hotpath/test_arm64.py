"""The kernel is as right on another processor, where none of this one's instructions are."""

from pathlib import Path

import pytest

from lab.arm64 import Arm64
from lab.system_packages import may_install

MUTANTS = "15000"
"""As many as an emulator can do in minutes."""

TESTS = ("kernel", "values", "building", "briefs", "keyring", "doubts", "learning", "quick", "equality")


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Arm64:
    if not may_install():
        pytest.skip("needs Debian's packages for arm64, and may not fetch them")
    return Arm64(tmp_path_factory.mktemp("arm64"))


@pytest.mark.night
def test_the_kernel_is_what_decodes_there(arm64: Arm64):
    done = arm64.python(["-c", "import platform, protocols.hotpath as it; print(platform.machine(), it.path_in_use)"], {}, 120)
    assert done.stdout.split() == ["aarch64", "c"], done.stderr[-2000:]


@pytest.mark.night
@pytest.mark.timeout(1500)
def test_construct_numpy_and_the_kernel_agree_there(arm64: Arm64):
    files = [str(Path("tests/protocols/hotpath") / f"test_{name}.py") for name in TESTS]
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-m", "not night"]
    done = arm64.python([*options, *files], {"TELELOOP_TEST_MUTANTS": MUTANTS}, 1_400)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
