"""Sets of torch operations of each kind, by their plain names (`names.spelled`).

All code that follows a network's operations uses these sets; code that handles fewer names its subset, with the reason.
"""

from __future__ import annotations

from typing import Literal


def words(text: str) -> frozenset[str]:
    """Splits a text at white space into a set of words."""
    return frozenset(text.split())


# --- functions of one number

RELUS = words("relu relu6")
SQUASHES = words("sigmoid hardsigmoid tanh erf softsign hardtanh")
"""Activation functions that are bounded on both sides, as gates are."""

CURVES = words(
    "gelu silu hardswish mish elu celu selu leaky_relu rrelu prelu softplus logsigmoid hardshrink softshrink tanhshrink"
)
"""Activation functions that are neither a ReLU nor bounded on both sides."""

ACTIVATIONS = RELUS | SQUASHES | CURVES
CLAMPS = words("clamp clamp_min clamp_max threshold")
"""Functions that are a ReLU for some arguments (see `Call.operation`)."""

FUNCTIONS = (
    ACTIVATIONS
    | CLAMPS
    | words(
        """exp exp2 expm1 log log2 log10 log1p logit sqrt rsqrt pow rpow square reciprocal rdiv abs sin cos tan asin acos atan
        sinh cosh erfc sign round floor ceil trunc"""
    )
)
"""Functions of one number, applied to each element; `pow` and others with two operands count if one is constant."""

# --- arithmetic

SUMS = words("add sub rsub")
MATRIX_PRODUCTS = words("matmul rmatmul mm bmm einsum")
CONVOLUTIONS = words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
COMPARISONS = words(
    "eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not logical_xor and or xor invert bitwise_and "
    "bitwise_or bitwise_not bitwise_xor"
)
AVERAGES = words(
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum interpolate upsample"
)
"""Operations that sum their inputs with weights which are fixed by the operation."""

SOFTMAXES = words("softmax log_softmax")
NORMALISATIONS = words("layer_norm group_norm instance_norm rms_norm")
"""Operations that normalise by statistics of their input."""

# --- moves: values change their places, their number or their type

COPIES = words("clone contiguous detach alias")
CASTS = words("to type type_as float double half bfloat16 cpu cuda")
DROPOUTS = words("dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout feature_alpha_dropout")
"""Operations that do nothing in evaluation mode."""

RESHAPES = words("view view_as reshape reshape_as flatten unflatten ravel squeeze unsqueeze")
VIEWS = RESHAPES | words(
    """permute transpose movedim t T mT H mH adjoint select narrow chunk unsafe_chunk split unsafe_split split_with_sizes
    tensor_split unbind getitem expand expand_as broadcast_to"""
)
MOVES = COPIES | VIEWS | words("channel_shuffle pixel_shuffle pixel_unshuffle roll flip rot90 repeat tile repeat_interleave")
"""Operations on one tensor that move or repeat its values and change none."""

JOINS = words("cat stack hstack vstack")
"""Operations that put the values of several tensors, given as a sequence, into one."""

# --- operations that backward rules speak of

Operation = Literal[
    "relu", "activation", "squash", "softmax", "statistic", "convolution", "linear", "product", "add", "multiply", "average",
    "batch_norm", "normalize", "response_norm", "attention", "multi_head_attention",
]  # fmt: skip

_MEMBERS: dict[Operation, frozenset[str]] = {
    "relu": RELUS,
    "activation": CURVES | {"neg"},
    "squash": SQUASHES,
    "softmax": words("softmax"),
    "statistic": words("exp rsqrt sqrt reciprocal norm var std vector_norm rdiv"),  # what normalisations divide by
    "convolution": CONVOLUTIONS,
    "linear": words("linear"),
    "product": MATRIX_PRODUCTS,
    "add": SUMS | {"addcmul"},
    "multiply": words("mul div"),
    "average": AVERAGES,
    "batch_norm": words("batch_norm"),
    "normalize": NORMALISATIONS,
    "response_norm": words("local_response_norm"),
    "attention": words("scaled_dot_product_attention"),
    "multi_head_attention": words("multi_head_attention_forward"),
}
OPERATIONS: dict[str, Operation] = {name: operation for operation, names in _MEMBERS.items() for name in names}
