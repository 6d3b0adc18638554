"""Neural networks: layers that own variables, losses, initializers."""

from graphc.nn import initializers
from graphc.nn.convolution import Conv1d, Conv2d, Conv3d
from graphc.nn.dense import Dense, DropConnect, Embedding
from graphc.nn.dropout import Dropout, drop_connect, dropout
from graphc.nn.layer import Activation, Flatten, Layer, Sequential
from graphc.nn.normalization import BatchNorm, LayerNorm
from graphc.nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)

__all__ = [
    "Activation",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Dense",
    "DropConnect",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Layer",
    "LayerNorm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Sequential",
    "drop_connect",
    "dropout",
    "initializers",
]
