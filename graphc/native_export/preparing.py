"""What an exported library holds: the values of leaves, and what has been prepared of them."""

from __future__ import annotations

from graphc.native_export.tables import Data
from graphc.runtime.executable import Executable
from graphc.runtime.settling import lasting, prepare, words_of

__all__ = ["data_of"]


def data_of(executable: Executable) -> Data:
    """Return the present values of leaves and of what is prepared, as far as a library reads them."""
    image = executable.image
    prepared = lasting(image)
    kept = prepare(executable, prepared)
    later = [p.call for p in image.preparations if p not in prepared]
    words = [w for section in image.sections for step in section.steps for w in words_of(step)]
    words += [w for call in later for w in call.words]
    read = {w.number for w in words if w.kind == "leaf"} | set(image.updates)
    leaves = {k: executable.leaves[k].array.tobytes() for k in sorted(read)}
    used = {w.number for w in words if w.kind == "kept"}
    return Data(leaves, {k: kept[k].tobytes() for k in sorted(used & kept.keys())}, image.updates)
