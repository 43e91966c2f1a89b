# %% [markdown]
# # 8 · Saliency and its noise
#
# **Mattered**: which pixels would change the answer? · about 15 minutes · needs [lesson 1](lesson:1)
#
# You will
#
# - compute a saliency map by hand, with one line of `torch.autograd`;
# - see that it changes when the picture does not, and say why;
# - average the noise away, and know how much of it is left;
# - share out a score over the pixels so that the shares add up to it.

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(8)
model = here.model()
images = model.preprocess(here.picture("cat"))
seen = model.denormalize(images)
k = tp.predict(model, images)[0][0].index
tp.show(tp.predict(model, images, k=5), pixels=seen)

# %% [markdown]
# ## The gradient at the picture
#
# The network turns a picture $x$ into one number for each class. Take the number of the class that it chose, the score $S$.
# How much would $S$ change if one value of the picture changed a little? That is the derivative $\partial S / \partial x$, and
# one backward pass gives it for all values at once. Its magnitude is the saliency map of
# [Simonyan et al. 2014](bib:simonyan2014saliency): bright means *steep*, the score reacts to a small change here.

# %%
score = tp.as_score(model, images, k)
x = images.clone().requires_grad_()
(by_hand,) = torch.autograd.grad(score(x).sum(), x)
saliency = tp.saliency(model, images, k)
tp.show(saliency, pixels=seen)

# %%
same = torch.allclose(
    by_hand.abs(), saliency.values, rtol=1e-4, atol=1e-6 * float(saliency.values.max())
)
here.holds(same, "tp.saliency is the magnitude of the gradient by hand")
here.holds(
    tuple(by_hand.shape) == tuple(images.shape),
    "there is one derivative for each value of the picture",
)

# %% [markdown]
# A picture has three values at each place. [tp.saliency](api:saliency) keeps all three and shows the largest of them, as the
# paper does.
#
# ## The map is noisy
#
# The map looks like dust. Is the dust about the picture? A test: add noise of *one grey level* to the picture, one part in
# 255, the smallest step that a JPEG file can hold. Nobody can see it.
#
# **Predict.** The score will hardly change. What will happen to the map?
#
# <details><summary>Answer</summary>
#
# With the cat and EfficientNet-Lite0 the score changes by less than one percent, and the two maps have a correlation of only
# about 0.67. Much of the dust was about nothing that you could see.
#
# </details>


# %%
def alike(a, b):
    """The correlation of two heatmaps: 1 the same, 0 unrelated."""
    pair = torch.stack([a.heatmap().flatten(), b.heatmap().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


std = torch.tensor(model.preprocessing.std)[:, None, None]
noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) / 255
noisy = images + noise / std
saliency_again = tp.saliency(model, noisy, k)
tp.show(
    [saliency, saliency_again],
    pixels=seen,
    names=["the picture", "plus one grey level"],
)

# %%
with torch.no_grad():
    before, after = float(score(images)), float(score(noisy))
print(
    f"score {before:.3f}, with noise {after:.3f}; correlation of the maps {alike(saliency, saliency_again):.2f}"
)
here.see(abs(after - before) < 0.02 * abs(before), "the score changes by less than 2 %")
here.see(
    alike(saliency, saliency_again) < 0.8,
    "the map changes: its correlation with the first one is below 0.8",
)

# %% [markdown]
# Why? A network of ReLUs is made of many flat pieces, like a cut gem. The score is nearly the same on both sides of an edge,
# but the slope jumps there. The gradient tells the slope of the one tiny piece on which the picture happens to lie.
#
# ## SmoothGrad: an average, and how sure it is
#
# If one slope says little, take the mean of many: add noise to the picture, compute the gradient, and average. This is
# SmoothGrad ([Smilkov et al. 2017](bib:smilkov2017smoothgrad)). The noise is now large, 15 % of the picture's range. An average
# of random draws is known only so well: [tp.smooth_grad](api:smooth_grad) gives the standard error of each value, `stderr`.
#
# **Predict.** Four times as many samples: what happens to the standard error?
#
# <details><summary>Answer</summary>
#
# It halves. The standard error of a mean of $n$ independent draws is $\sigma / \sqrt{n}$. Ten times more certainty costs a
# hundred times more passes, so look at `stderr` before you ask for more.
#
# </details>

# %%
few = here.quick(4, full=8)
smooth = tp.smooth_grad(model, images, k, n_samples=few, seed=1)
smoother = tp.smooth_grad(model, images, k, n_samples=4 * few, seed=1)
names = ["one gradient", f"mean of {few}", f"mean of {4 * few}"]
tp.show([saliency, smooth, smoother], pixels=seen, names=names)

# %%
ratio = float(smoother.stderr.mean() / smooth.stderr.mean())
left = float(smoother.stderr.mean() / smoother.values.abs().mean())
print(
    f"standard error: {ratio:.2f} of what it was; it is {left:.0%} of the mean size of a value"
)
here.see(0.35 < ratio < 0.65, "four times the samples, about half the standard error")

# %% [markdown]
# Read the second number: after this many samples the error is still as large as a typical value of the map. The bright spots
# are far above it, the faint ones are not. `tolerance=0.05` goes on until the standard error is small enough.
#
# ## Times the input
#
# A gradient says how the score *reacts*, not what a pixel *contributed*. If the network were linear, $S = \sum_i w_i x_i + b$,
# the contribution of value $i$ would be $w_i x_i$: input times gradient. It is signed: red speaks for the class, blue against.
#
# **Predict.** Networks see normalised pictures: the mean colour is 0. What does input times gradient say about a patch of
# exactly the mean colour?
#
# <details><summary>Answer</summary>
#
# Nothing: $0 \cdot \partial S / \partial x = 0$, however much the patch matters. "Zero" is a choice, called the baseline. Here
# it is mean grey, and not black.
#
# </details>

# %%
patched = images.clone()
patched[..., 80:120, 80:120] = 0
product = tp.input_x_gradient(model, patched, k)
tp.show(product, pixels=model.denormalize(patched))

# %%
here.holds(
    bool((product.values[..., 80:120, 80:120] == 0).all()),
    "a patch of the mean colour gets no share at all",
)
here.holds(
    float(tp.saliency(model, patched, k).values[..., 80:120, 80:120].sum()) >= 0,
    "a magnitude is never negative",
)

# %% [markdown]
# ## Shares that add up: integrated gradients
#
# There is a second trouble. Let the score be $S(x) = \min(x, 1)$ and the input $x = 3$. The input clearly made the score 1,
# but the slope at 3 is zero: the function is *saturated*. A gradient only sees the last step. Integrated gradients
# ([Sundararajan et al. 2017](bib:sundararajan2017ig)) walk the whole way from a baseline to the input and add up the slopes.

# %%
way = torch.linspace(
    0.005, 2.995, 300
).requires_grad_()  # from the baseline 0 to the input 3
(slopes,) = torch.autograd.grad(way.clamp(max=1).sum(), way)
print(
    f"slope at 3: {float(slopes[-1])}; mean slope on the way, times the way: {float(3 * slopes.mean()):.3f}"
)
here.holds(float(slopes[-1]) == 0, "the slope at the end is 0")
here.holds(
    abs(float(3 * slopes.mean()) - 1) < 0.01,
    "the shares gathered on the way sum to the score's change, 1",
)

# %% [markdown]
# For a network the same sum, over all pixels, must be $S(x) - S(x_0)$ with $x_0$ the baseline. How near it comes tells whether
# there were enough steps; if it is far off, the result says so in its `notes`.

# %%
steps = here.quick((5, 10), full=(10, 100))
product = tp.input_x_gradient(model, images, k)
rough, fine = (tp.integrated_gradients(model, images, k, n_steps=n) for n in steps)
tp.show(
    [product, rough, fine],
    pixels=seen,
    names=["input x gradient", *(f"integrated, {n} steps" for n in steps)],
)

# %%
with torch.no_grad():
    change = float(score(images) - score(torch.zeros_like(images)))
errors = [abs(float(one.values.sum()) - change) / abs(change) for one in (rough, fine)]
for n, one, error in zip(steps, (rough, fine), errors, strict=True):
    print(
        f"{n} steps: the shares sum to {float(one.values.sum()):.2f}, the score changes by {change:.2f}: {error:.0%} off"
    )
print(*fine.notes, sep="\n")
here.see(errors[1] < errors[0], "more steps, a smaller error of the sum")
here.see(
    errors[1] < here.quick(0.5, full=0.05),
    "with enough steps the shares sum to the change of the score",
)

# %% [markdown]
# Few steps on a network with many ReLUs can be far off. Other libraries give you that picture without a word.
#
# ## Misconceptions
#
# **What people think:** bright pixels are where the object is. **What is so:** bright pixels are where the score is *steep*. An
# object that the network is sure about can be dark (saturation).
#
# **What people think:** a sharp map is a good map. **What is so:** half of a sharp gradient map can be noise, as you measured.
# Sharpness is not evidence; [lesson 10](lesson:10) shows a test.
#
# **What people think:** the baseline "zero" is black. **What is so:** it is zero *after* normalisation, the mean colour of the
# training data. `baseline="black"` asks for black, and gives another map.
#
# **What people think:** shares that sum to the score are right. **What is so:** completeness is one good property. A map can
# share out the score exactly and still point at the wrong place.
#
# ## Formulas
#
# Saliency of the value $i$ of the picture $x$ for the score $S$:
#
# $$M_i = \left| \frac{\partial S}{\partial x_i} \right|$$
#
# SmoothGrad, with $n$ draws of noise $\varepsilon_j \sim N(0, \sigma^2)$, and its standard error, where $s_i$ is the standard
# deviation of the $n$ gradients:
#
# $$\bar{g}_i = \frac{1}{n} \sum_{j=1}^{n} \frac{\partial S}{\partial x_i}(x + \varepsilon_j),
# \qquad \text{stderr}_i = \frac{s_i}{\sqrt{n}}$$
#
# Integrated gradients from the baseline $x_0$, and what they sum to:
#
# $$A_i = (x_i - x_{0,i}) \int_0^1 \frac{\partial S}{\partial x_i}\big(x_0 + a (x - x_0)\big)\, da,
# \qquad \sum_i A_i = S(x) - S(x_0)$$
#
# ## On your own picture
#
# `tapetum lesson 8 --model resnet50 --image dog.jpg`, or only the maps:
# `tapetum run smooth_grad dog.jpg --n-samples 50`. Look at the standard error first: is what you see above it?
#
# While `tapetum studio` runs, [these maps of the
# cup](studio:mattered?methods=saliency,smooth_grad,integrated_gradients&pictures=coffee) open in it.
#
# ## References
#
# - [Simonyan et al. 2014](bib:simonyan2014saliency): the gradient as a map.
# - [Smilkov et al. 2017](bib:smilkov2017smoothgrad): SmoothGrad.
# - [Sundararajan et al. 2017](bib:sundararajan2017ig): integrated gradients.
# - [Shrikumar et al. 2016](bib:shrikumar2016inputxgradient): input times gradient.
