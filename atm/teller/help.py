"""The help texts of the teller."""

from __future__ import annotations

import textwrap

from atm.teller.commands import COMMANDS, commands_for

AVAILABLE = "Available commands are: query, credit <amount>, debit <amount>, and more: help"
EXPLANATION_COLUMNS_MIN = 30  # beside the forms; on a narrower terminal they go below


def help_text(topic: str | None, *, operator: bool, columns: int | None) -> str:
    """Explain one command, or list all of this person, wrapped to `columns`."""
    if topic is not None:
        command = COMMANDS[topic]
        whose = " (operators only)" if command.for_operators else ""
        besides = f"\n{command.besides}" if command.besides else ""
        return f"{command.form}: {command.does}{whose}{besides}"
    commands = commands_for(operator=operator)
    form_columns = max(len(command.form) for command in commands)
    return "\n".join(_help_line(command.form, command.does, form_columns, columns) for command in commands)


def _help_line(form: str, does: str, form_columns: int, columns: int | None) -> str:
    beside = f"{form:{form_columns}}  "
    if columns is None:
        return beside + does
    if columns < form_columns + EXPLANATION_COLUMNS_MIN:
        above = textwrap.fill(form, columns, subsequent_indent="    ", break_on_hyphens=False)
        below = textwrap.fill(does, columns, initial_indent="  ", subsequent_indent="  ")
        return f"{above}\n{below}"
    return textwrap.fill(does, columns, initial_indent=beside, subsequent_indent=" " * len(beside))
