"""pyproject.toml, constraints.txt, environment.yml and the Makefile tell one story."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALL = f".[{','.join(EXTRAS)}]"


def pins() -> dict[str, str]:
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_requirement_is_pinned_to_a_version_it_allows():
    for text in [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]:
        requirement = Requirement(text)
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_pins_are_sorted_public_releases_named_once():
    names = [line.split("==")[0] for line in read("constraints.txt").splitlines()[1:]]
    assert names == sorted(set(names))
    assert not [
        name for name, version in pins().items() if Version(version).local or canonicalize_name(name) != name
    ]


def test_no_requirement_has_an_upper_bound():
    for text in [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]:
        assert {specifier.operator for specifier in Requirement(text).specifier} == {">="}, text


def test_every_way_to_install_installs_all_extras_under_the_constraints():
    assert f"-c constraints.txt -e '{INSTALL}'" in read("Makefile")
    assert re.search(rf"- -c constraints.txt\n\s+- -e {re.escape(INSTALL)}\n", read("environment.yml"))
    assert INSTALL in read("README.md")


def test_conda_brings_a_python_that_the_package_accepts():
    python = re.search(r"- python=([\d.]+)", read("environment.yml"))[1]
    assert f"{python}.0" in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_the_readme_names_make_targets_that_exist():
    targets = set(re.findall(r"^(\w+):", read("Makefile"), flags=re.M))
    named = re.findall(r"`make (\w+)`", read("README.md") + read("CONTRIBUTING.md"))
    assert named
    assert set(named) <= targets
