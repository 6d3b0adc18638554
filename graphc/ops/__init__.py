"""Every operation, one family a file; each op's knowledge stands together in one object."""

from graphc.ops.activations import *
from graphc.ops.arithmetic import *
from graphc.ops.custom import *
from graphc.ops.elementwise import *
from graphc.ops.functions import *
from graphc.ops.logic import *
from graphc.ops.power import *
from graphc.ops.selection import *
