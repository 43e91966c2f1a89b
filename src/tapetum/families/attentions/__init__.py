"""Attention maps: which tokens a vision transformer looks at, layer after layer.

values are non-negative and on the grid of tokens, (n, 1, h, w). The attention may be spelled in any way; networks without
attention over one grid of tokens (convolutional ones, windows as in Swin) are refused.
"""
