"""Every operation, one family a file; each op's knowledge stands together in one object."""

from graphc.ops.arithmetic import *
from graphc.ops.convolution import *
from graphc.ops.einsum import *
from graphc.ops.elementwise import *
from graphc.ops.linalg import *
from graphc.ops.pooling import *
from graphc.ops.products import *
