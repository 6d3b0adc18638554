"""Every operation, one family a file; each op's knowledge stands together in one object."""

from graphc.ops.arithmetic import *
from graphc.ops.batch_normalization import *
from graphc.ops.counting import *
from graphc.ops import losses as losses
from graphc.ops.cumulative import *
from graphc.ops.einsum import *
from graphc.ops.elementwise import *
from graphc.ops.extrema import *
from graphc.ops.joining import *
from graphc.ops.linalg import *
from graphc.ops.normalization import *
from graphc.ops.norms import *
from graphc.ops.products import *
from graphc.ops.random import *
from graphc.ops.reductions import *
from graphc.ops.shape import *
from graphc.ops.slicing import *
from graphc.ops.softmax import *
from graphc.ops.sorting import *
from graphc.ops.statistics import *
