"""The top folders are one import package, here and in the wheel (docs/decisions/0001)."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import quest_lab.example_benches
import quest_lab.instruments
import quest_lab.protocols
import quest_lab.sim
from quest_lab.examples import example_benches

ROOT = Path(__file__).parents[1]
MAPPED = {
    "instruments": "instruments",
    "protocols": "protocols",
    "sim": "sim",
    "example_benches": "examples/benches",
}
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def modules() -> set[str]:
    """Every module of the mapped folders as its path in the wheel."""
    own = {p for p in (ROOT / "quest_lab").rglob("*.py") if p.relative_to(ROOT).parts[1] not in MAPPED}
    inside = {p.relative_to(ROOT).as_posix() for p in own}
    for name, folder in MAPPED.items():
        top = ROOT / folder
        inside |= {f"quest_lab/{name}/{p.relative_to(top).as_posix()}" for p in top.rglob("*.py")}
    return inside


def test_the_packages_are_the_folders() -> None:
    folders = {path.rpartition("/")[0].replace("/", ".") for path in modules()}
    assert set(SETUPTOOLS["packages"]) == folders
    assert len(modules()) > 20  # the walk found something


def test_every_package_has_an_init() -> None:
    folders = {path.rpartition("/")[0] for path in modules()}
    assert {f"{folder}/__init__.py" for folder in folders} <= modules()


@pytest.mark.parametrize(("name", "folder"), MAPPED.items())
def test_a_top_folder_under_its_bare_name_is_refused(name: str, folder: str) -> None:
    bare, where = Path(folder).name, (ROOT / folder).parent
    ran = subprocess.run([sys.executable, "-c", f"import {bare}"], cwd=where, capture_output=True, text=True)
    assert f"ImportError: import quest_lab.{name} instead of {bare}" in ran.stderr


@pytest.mark.parametrize(
    "package",
    [quest_lab.instruments, quest_lab.protocols, quest_lab.sim, quest_lab.example_benches],
)
def test_a_mapped_package_is_the_top_folder(package: object) -> None:
    file = Path(str(package.__file__)).resolve()  # type: ignore[attr-defined]
    assert file == (ROOT / MAPPED[str(package.__name__).split(".")[1]] / "__init__.py").resolve()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "folder"), MAPPED.items())
def test_the_links_are_relative(name: str, folder: str) -> None:
    link = ROOT / "quest_lab" / name
    target = link.readlink().as_posix() if link.is_symlink() else link.read_text(encoding="utf-8")
    assert target == f"../{folder}"  # git without symlinks leaves the target as text


@pytest.fixture(scope="module", params=["links", "text files"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the wheel of a clone with links, and of one whose links git wrote as text (Windows)."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    for folder in ("quest_lab", *MAPPED.values()):
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, root / folder, symlinks=True, ignore=leave)
    if request.param == "text files":
        for name, folder in MAPPED.items():
            (root / "quest_lab" / name).unlink()
            (root / "quest_lab" / name).write_text(f"../{folder}", encoding="utf-8")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", str(root)]
    subprocess.run(build, cwd=root, check=True, capture_output=True, text=True, timeout=300)
    (built,) = (root / "dist").glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


@pytest.mark.wheel
def test_the_wheel_holds_every_module_and_nothing_else(wheel: set[str]) -> None:
    inside = {name for name in wheel if ".dist-info/" not in name}
    examples = {f"quest_lab/example_benches/{path.name}" for path in example_benches().values()}
    assert len(examples) == 7
    assert inside == modules() | examples | {"quest_lab/py.typed"}


@pytest.mark.wheel
def test_the_wheel_brings_the_licence_and_the_command(wheel: set[str]) -> None:
    meta = {name.partition(".dist-info/")[2] for name in wheel if ".dist-info/" in name}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= meta
