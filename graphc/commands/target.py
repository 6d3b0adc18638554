"""What a command works on: a file, or a function of the user's that returns a program or its pieces."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graphc.commands import terminal, user_code
from graphc.commands.user_code import RunningUserCode, place_of
from graphc.errors import ArgumentError, GraphcError, UserCodeError, Where

if TYPE_CHECKING:
    from graphc.runtime.program import Program

__all__ = ["FORMS", "MODEL_FORMS", "Code", "Options", "declare", "load", "load_one", "parse", "parse_model"]

CODE_FORMS = "module:function or path/to/file.py:function"
MODEL_FORMS = f"FILE.onnx, {CODE_FORMS}"
FORMS = f"FILE.gxc, {MODEL_FORMS}"
_ARTIFACT, _MODEL = ".gxc", ".onnx"
_LEVELS = ("full", "fast", "none")
_PIECES = "a Program, (inputs, outputs), (inputs, outputs, updates), or a dict of these under names"


@dataclass(frozen=True)
class Code:
    """A name in a module or a Python file.

    Attributes
    ----------
    module : str
        Dotted name, or the path of a file that ends in ``.py``.
    name : str
        A function without required parameters, or what it would return.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class Options:
    """How to make programs of what a target names.

    Attributes
    ----------
    optimize : str, optional
        How much work to put into pieces that are not compiled yet.
    name : str, optional
        What to call the program of pieces; by default the function's name.
    trust : bool
        Whether to run the machine code in an artifact, whoever made it.
    imports : tuple of str
        Modules to import before an artifact is read: those that register its custom operations.
    """

    optimize: Literal["none", "fast", "full"] | None = None
    name: str | None = None
    trust: bool = False
    imports: tuple[str, ...] = ()


def parse(text: str) -> Code | Path:
    """Read a target: a file's path, or code as ``module:function``.

    Examples
    --------
    >>> parse("models.lenet:predict")
    Code(module='models.lenet', name='predict')
    >>> parse("model.gxc").name
    'model.gxc'
    """
    module, _, name = text.rpartition(":")
    exists = Path(text).exists()
    if not exists and (module.endswith(".py") or _is_dotted(module)) and _is_dotted(name):
        return Code(module, name)
    if text.endswith(".py") or not (text.endswith((_ARTIFACT, _MODEL)) or exists):
        raise argparse.ArgumentTypeError(f"expected {FORMS}, given {text!r}")
    return Path(text)


def parse_model(text: str) -> Code | Path:
    """Read a target that is not compiled yet: code, or a model of ONNX.

    Examples
    --------
    >>> str(parse_model("models/lenet.py:predict")), str(parse_model("lenet.onnx"))
    ('models/lenet.py:predict', 'lenet.onnx')
    """
    found = parse(text)
    if isinstance(found, Path) and found.suffix != _MODEL:
        raise argparse.ArgumentTypeError(f"expected {MODEL_FORMS}, given {text!r}")
    return found


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _module(text: str) -> str:
    if not _is_dotted(text):
        raise argparse.ArgumentTypeError(f"expected the name of a module, given {text!r}")
    return text


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the words by which commands that use one program name it."""
    parser.add_argument("target", type=parse, metavar="TARGET", help=FORMS)
    parser.add_argument("--program", metavar="NAME", help="which one, where the target holds several")
    declare_optimize(parser)
    parser.add_argument(
        "--trust", action="store_true", help="run the machine code in an artifact, whoever made it"
    )
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="imports",
        type=_module,
        metavar="MODULE",
        help="import this first, for an artifact with custom operations; repeat for more",
    )


def declare_optimize(parser: argparse.ArgumentParser) -> None:
    """Declare ``--optimize``."""
    parser.add_argument(
        "--optimize",
        choices=_LEVELS,
        help="work to put into pieces that are not compiled yet; default full",
    )


def load_one(arguments: argparse.Namespace) -> Program:
    """Return the one program that the words declared by `declare` name.

    Raises
    ------
    ArgumentError
        If the target holds several programs and none is chosen, or not the chosen one.
    """
    options = Options(arguments.optimize, None, arguments.trust, tuple(arguments.imports))
    loaded = load(arguments.target, options)
    found = loaded if isinstance(loaded, dict) else {loaded.name: loaded}
    if arguments.program is None and len(found) == 1:
        return next(iter(found.values()))
    if arguments.program in found:
        return found[arguments.program]
    expected = " or ".join(f"--program {name}" for name in found)
    if arguments.program is None:
        raise ArgumentError(f"{arguments.target} holds {len(found)} programs", expected=expected)
    raise ArgumentError(f"{arguments.target} holds no program {arguments.program!r}", expected=expected)


def load(target: Code | Path, options: Options) -> Program | dict[str, Program]:
    """Return the program that a target holds, or several under names.

    Raises
    ------
    UserCodeError
        If the user's code raises, or returns something else than programs.
    ArtifactError, OnnxImportError
        If a file is not an artifact or model, or is damaged.
    ArgumentError
        If options are given that the target has no use for.
    GraphcError
        If pieces do not make a program.
    """
    for module in options.imports:
        user_code.import_module(module)
    if isinstance(target, Path):
        return _from_model(target, options) if target.suffix == _MODEL else _from_artifact(target, options)
    found = user_code.attribute(target.module, target.name)
    place = place_of(found)
    with terminal.waiting(f"making {target}"), RunningUserCode(str(target), place):
        return _programs(_called(found, target), target, options, place)


def _from_artifact(path: Path, options: Options) -> Program | dict[str, Program]:
    import graphc as gx

    if options.optimize is not None:
        raise ArgumentError(f"{path} is compiled already", expected="no --optimize", given=options.optimize)
    with terminal.waiting(f"loading {path}"), RunningUserCode(str(path)):
        return gx.load(path, trust=options.trust)


def _from_model(path: Path, options: Options) -> Program:
    import graphc as gx

    with terminal.waiting(f"compiling {path}"), RunningUserCode(str(path)):
        # Constants, since the commands only run it: they are folded and packed.
        model = gx.onnx.load(path, weights="constants")
        return model.compile(optimize=options.optimize or "full", name=options.name or path.stem)


def _called(found: Any, target: Code) -> Any:
    """Return what a function returns; anything else as it is."""
    if not callable(found) or _is_program(found):
        return found
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:
        raise UserCodeError(
            f"{target} cannot be called: {error}",
            expected="a function without required parameters",
            where=place_of(found),
        ) from error
    return found()


def _is_program(value: Any) -> bool:
    from graphc.runtime.program import Program

    return isinstance(value, Program)


def _programs(value: Any, target: Code, options: Options, place: Where) -> Program | dict[str, Program]:
    if not isinstance(value, Mapping):
        return _program(value, target, options, options.name or target.name.rpartition(".")[2], place)
    if options.name is not None:
        raise ArgumentError(f"{target} names its programs itself", expected="no --name", given=options.name)
    if not value or not all(isinstance(name, str) for name in value):
        raise _unusable(target, f"a dict with the keys {list(value)}", place)
    return {name: _program(item, target, options, name, place) for name, item in value.items()}


def _program(value: Any, target: Code, options: Options, name: str, place: Where) -> Program:
    import graphc as gx

    if _is_program(value):
        return _compiled_already(value, target, options)
    if not isinstance(value, tuple) or len(value) not in (2, 3):
        raise _unusable(target, type(value).__name__, place)
    if not isinstance(value[0], (gx.Tensor, list, tuple)):
        raise _unusable(target, f"a tuple that begins with a {type(value[0]).__name__}", place)
    return gx.compile(*value, optimize=options.optimize or "full", name=name)


def _compiled_already(program: Program, target: Code, options: Options) -> Program:
    for word, value in (("--optimize", options.optimize), ("--name", options.name)):
        if value is not None:
            raise ArgumentError(
                f"{target} returns a program that is compiled already", expected=f"no {word}", given=value
            )
    return program


def _unusable(target: Code, given: str, place: Where) -> GraphcError:
    return UserCodeError(f"{target} returns nothing to compile", expected=_PIECES, given=given, where=place)
