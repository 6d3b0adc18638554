"""Local rewrites: rules are rows of a table, one driver applies them all."""

from graphc.rewriting.driver import apply_rules
from graphc.rewriting.patterns import (
    ANY,
    Match,
    Pattern,
    Rule,
    anything,
    constant_of,
    op,
    splat,
    splat_value,
    var,
)

__all__ = [
    "ANY",
    "Match",
    "Pattern",
    "Rule",
    "anything",
    "apply_rules",
    "constant_of",
    "op",
    "splat",
    "splat_value",
    "var",
]
