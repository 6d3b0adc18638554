"""Looking into programs: what became of nodes, pictures of graphs, what runs how long."""

from graphc.inspection.provenance import Fate, Kind, Provenance

__all__ = ["Fate", "Kind", "Provenance"]
