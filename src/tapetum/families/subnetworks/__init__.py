"""Parts of a network alone: masks of channels, kernels and weights, what is left of the answer, how alike two masks are."""
