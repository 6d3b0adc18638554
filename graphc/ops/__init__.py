"""Every operation, one family a file; each op's knowledge stands together in one object."""

from graphc.ops.along_axis import *
from graphc.ops.arithmetic import *
from graphc.ops.counting import *
from graphc.ops.creation import *
from graphc.ops.einsum import *
from graphc.ops.elementwise import *
from graphc.ops.extrema import *
from graphc.ops.getitem import *
from graphc.ops.indexing import *
from graphc.ops.joining import *
from graphc.ops.linalg import *
from graphc.ops.padding import *
from graphc.ops.products import *
from graphc.ops.random import *
from graphc.ops.ranges import *
from graphc.ops.reductions import *
from graphc.ops.refused import *
from graphc.ops.shape import *
from graphc.ops.slicing import *
from graphc.ops.statistics import *
from graphc.ops.transpose import *
