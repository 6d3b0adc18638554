"""Every operation, one family a file; each op's knowledge stands together in one object."""

from graphc.ops.getitem import getitem as getitem
from graphc.ops.public import *
