"""Neural networks: layers that own variables, losses, initializers."""

from graphc.nn import initializers
from graphc.nn.attention import scaled_dot_product_attention
from graphc.nn.attention_layers import AdditiveAttention, MultiHeadAttention
from graphc.nn.convolution import Conv1d, Conv2d, Conv3d
from graphc.nn.dense import Dense, DropConnect, Embedding
from graphc.nn.dropout import Dropout, drop_connect, dropout
from graphc.nn.layer import Activation, Flatten, Layer, Module, Sequential
from graphc.nn.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
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
from graphc.nn.recurrent import GRU, LSTM, RNN
from graphc.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell
from graphc.nn.resampling import FractionalMaxPool2d, Upsample
from graphc.nn.sequences import Bidirectional, TimeDistributed
from graphc.nn.spectral import SpectralNorm, spectral_norm
from graphc.nn.transposed_convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from graphc.ops.losses import (
    binary_cross_entropy,
    elastic_penalty,
    huber,
    kl_divergence,
    l1,
    l1_penalty,
    l2_penalty,
    mse,
    multiclass_hinge,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdditiveAttention",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm",
    "Bidirectional",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dense",
    "DropConnect",
    "Dropout",
    "Embedding",
    "Flatten",
    "FractionalMaxPool2d",
    "GRUCell",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "InstanceNorm",
    "LSTMCell",
    "Layer",
    "LayerNorm",
    "LocalResponseNorm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "MultiHeadAttention",
    "RNNCell",
    "Sequential",
    "SpectralNorm",
    "TimeDistributed",
    "Upsample",
    "binary_cross_entropy",
    "drop_connect",
    "dropout",
    "elastic_penalty",
    "huber",
    "initializers",
    "kl_divergence",
    "l1",
    "l1_penalty",
    "l2_penalty",
    "mse",
    "multiclass_hinge",
    "scaled_dot_product_attention",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "spectral_norm",
]
