"""Class activation maps: weighted sums of the channels of one layer.

values are signed and at the layer's own resolution, (n, 1, h, w); the heatmap shows their positive part (the papers' ReLU),
upsampled bilinearly. Evidence against the target stays readable in the values.

weighted     one gradient pass (and `cam`, which needs none in principle)
masked       scores of masked images and ablated channels
decomposed   principal components of the channels
whole        all layers at once
steps        Grad-CAM with every number on the way
"""
