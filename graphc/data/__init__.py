"""Image data sets for the demo and the examples, read from files that a user has."""

from graphc.data.augmentation import Augmentation, random_flip, random_shift
from graphc.data.batches import minibatches
from graphc.data.cifar import load_cifar10
from graphc.data.dataset import Dataset, Images, stratified_split
from graphc.data.digits import load_digits
from graphc.data.idx import read_idx
from graphc.data.mnist import load_mnist
from graphc.data.preprocessing import Standardize

__all__ = [
    "Augmentation",
    "Dataset",
    "Images",
    "Standardize",
    "load_cifar10",
    "load_digits",
    "load_mnist",
    "minibatches",
    "random_flip",
    "random_shift",
    "read_idx",
    "stratified_split",
]
