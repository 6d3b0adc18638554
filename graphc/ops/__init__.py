"""Every operation, one family a file; each op's knowledge stands together in one object."""

from graphc.ops.arithmetic import *
from graphc.ops.elementwise import *
from graphc.ops.shape import *
from graphc.ops.joining import *
from graphc.ops.slicing import *
