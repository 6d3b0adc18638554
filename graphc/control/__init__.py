"""Loops and branches: functions of Tensors that become sub-graphs of one node."""

from graphc.control.branches import cond as cond
from graphc.control.branches import switch as switch
from graphc.control.loops import fori_loop as fori_loop
from graphc.control.loops import while_loop as while_loop
from graphc.control.scans import associative_scan as associative_scan
from graphc.control.scans import map as map
from graphc.control.scans import scan as scan
