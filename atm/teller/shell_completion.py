"""What bash, zsh and fish need to complete the teller's command line: options, and commands behind `-c`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from atm.teller.commands import COMMANDS

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "atm"
_FILES = frozenset({"--config", "--cert", "--key", "-f"})
_COMMANDS = "-c"


def completion_script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the text that one of `SHELLS` loads; docs/teller.md says how."""
    options = [action for action in parser._actions if action.option_strings]  # there is no public way
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](options)


def _bash(options: Sequence[argparse.Action]) -> str:
    cases = []
    for option in options:
        for name in option.option_strings:
            if _takes_value(option):
                cases.append(f'        {name}) words="{" ".join(_words_behind(option, name))}" ;;')
    every = " ".join(name for option in options for name in option.option_strings)
    return "\n".join(
        [
            f"# bash completion of {PROGRAM}, printed by: {PROGRAM} --completion bash",
            "_atm() {",
            "    local words",
            '    case "${COMP_WORDS[COMP_CWORD-1]}" in',
            *cases,
            f'        *) words="{every}" ;;',
            "    esac",
            '    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
            "}",
            f"complete -o default -F _atm {PROGRAM}  # where it offers nothing, the names of files",
        ]
    )


def _zsh(options: Iterable[argparse.Action]) -> str:
    lines = [f"#compdef {PROGRAM}", f"# zsh completion of {PROGRAM}, printed by: {PROGRAM} --completion zsh"]
    specs = []
    for option in options:
        for name in option.option_strings:
            again = "*" if isinstance(option, argparse._AppendAction) else ""
            specs.append(_quoted(f"{again}{name}[{_zsh_text(option.help or '')}]{_zsh_value(option, name)}"))
    return "\n".join([*lines, "_arguments \\", *(f"    {spec} \\" for spec in specs), "    '1:node:'"])


def _zsh_value(option: argparse.Action, name: str) -> str:
    if not _takes_value(option):
        return ""
    what = str(option.metavar or option.dest).lower()
    if name in _FILES:
        return f":{what}:_files"
    words = _words_behind(option, name)
    return f":{what}:({' '.join(words)})" if words else f":{what}:"


def _zsh_text(text: str) -> str:
    for mark in "\\[]:":
        text = text.replace(mark, "\\" + mark)
    return text


def _fish(options: Iterable[argparse.Action]) -> str:
    lines = [
        f"# fish completion of {PROGRAM}, printed by: {PROGRAM} --completion fish",
        f"complete -c {PROGRAM} -f",
    ]
    for option in options:
        for name in option.option_strings:
            words = _words_behind(option, name)
            parts = [f"complete -c {PROGRAM}", f"-{'l' if name.startswith('--') else 's'} {name.lstrip('-')}"]
            parts += ["-r"] if _takes_value(option) else []
            parts += ["-F"] if name in _FILES else []
            parts += [f"-a {_quoted(' '.join(words))}"] if words else []
            lines.append(" ".join([*parts, f"-d {_quoted(option.help or '')}"]))
    return "\n".join(lines)


def _words_behind(option: argparse.Action, name: str) -> list[str]:
    """Return the words that may follow an option, if there are just some."""
    return list(COMMANDS) if name == _COMMANDS else list(option.choices or ())


def _takes_value(option: argparse.Action) -> bool:
    return option.nargs != 0


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
