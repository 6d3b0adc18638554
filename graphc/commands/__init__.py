"""The commands of the command line, in the order of its help; to add one, add a row."""

from graphc.commands import bench, cache, compile, demo, doctor, inspect, onnx, profile, run
from graphc.commands.command import Command

__all__ = ["COMMANDS", "Command"]

COMMANDS: tuple[Command, ...] = (
    demo.COMMAND,
    compile.COMMAND,
    run.COMMAND,
    inspect.COMMAND,
    profile.COMMAND,
    bench.COMMAND,
    onnx.COMMAND,
    cache.COMMAND,
    doctor.COMMAND,
)
