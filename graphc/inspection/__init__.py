"""Looking into programs: what became of nodes, and pictures of graphs."""

from graphc.inspection.provenance import Fate, Kind, Provenance

__all__ = ["Fate", "Kind", "Provenance"]
