"""The commands of the command line, in the order of its help; to add one, add a row."""

from graphc.commands import cache, demo, doctor
from graphc.commands.command import Command

__all__ = ["COMMANDS", "Command"]

COMMANDS: tuple[Command, ...] = (demo.COMMAND, doctor.COMMAND, cache.COMMAND)
