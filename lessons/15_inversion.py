# %% [markdown]
# # 15 · Inversion: what information is left
#
# **Found**: which pictures look the same to a layer, and what of a photograph does it still know? · about 20 minutes ·
# needs [lesson 14](lesson:14)
#
# You will
#
# * make a photograph again from what a layer holds of it
# * see that very different pictures give the network the same answer
# * tell what a layer determines from what the search made up, with a second search
# * measure what is left at seven depths, and name the bottleneck
# * see why plain gradient descent with one fixed rate fails

# %%
import torch
import torch.nn.functional as F

import tapetum as tp
from tapetum.course import start

here = start(15)
model = here.model()
side, steps = here.side(model, 96), here.quick(20, full=100)
full_size = model.preprocess(here.picture("cat"))
images = F.interpolate(full_size, (side, side), mode="area")
photo = model.denormalize(images)

# %% [markdown]
# ## A picture with the same activation
#
# Let $\Phi(x)$ be what a layer makes of a picture $x$, and $x_0$ a photograph. We look for a picture whose activation is the
# same, starting from noise ([Mahendran and Vedaldi 2015](bib:mahendran2015inversion)):
#
# $$x^* = \underset{x}{\text{arg min}} \frac{\lVert \Phi(x) - \Phi(x_0) \rVert^2}{\lVert \Phi(x_0) \rVert^2} + R(x)$$
#
# The first term is the relative feature loss: 0 for the same activation, 1 for none at all. $R$ keeps the pixels from
# extremes and from grain. If the layer kept everything, the only answer is the photograph. What it threw away, the search
# cannot know: there it ends up anywhere.
#
# **Predict.** Three layers: an early one, a middle one and a deep one. From which can you get the cat back? Will the loss
# of the deep one stay high?
#
# <details><summary>Answer</summary>
#
# From the early layer you get the photograph itself. From the deep layer you get scattered pieces of fur and eyes. But its
# loss becomes *small* too: the search found a picture that the layer takes for the same. It is the layer that no longer
# knows better.
#
# </details>

# %%
layers = ["blocks.0", "blocks.2", "blocks.5"]
if here.own_model is not None:  # layers of your own network, from early to deep
    layers = [one.layer for one in tp.activation_maps(model, full_size)]
made = tp.invert(model, images, layer=layers, n_steps=steps, frames=5)
tp.show(made)

# %%
tp.show(made, view="values")

# %%
loss, ssim = made.numbers["feature_loss"], made.numbers["ssim"]
for i, layer in enumerate(layers):
    print(f"{layer}: relative feature loss {loss[i]:.3f}, SSIM {ssim[i]:.2f}")
falling = bool((made.values.diff(dim=0) <= 0).all())
here.holds(falling, "the loss of the best picture so far never rises")
here.see(bool(loss.max() < 0.2), "at every depth the loss falls below a fifth")
here.see(bool(ssim[0] > 0.9), "the early layer gives the photograph back")
here.see(bool(ssim[-1] < 0.4), "the deep layer does not, though its loss is small")

# %% [markdown]
# ## The network takes them for the same
#
# If a layer cannot tell two pictures apart, nothing after it can. So let the whole network look at the made pictures.
#
# **Predict.** What does it say of the picture from the deep layer, in which you hardly see a cat?
#
# <details><summary>Answer</summary>
#
# A cat, as of the photograph. What is missing was not needed for the answer: where exactly things are, the
# exact colours, how the parts go together.
#
# </details>

# %%
shown = torch.cat([photo, made.pixels])
answers = tp.predict(model, model.preprocessing.normalize(shown), k=3)
tp.show(answers, pixels=shown)

# %%
cats = {"tiger cat", "Egyptian cat", "tabby"}
names = [answer[0].label for answer in answers]
here.see(set(names) <= cats, "the first name is a cat's for all four pictures")

# %% [markdown]
# ## What the layer determines, and what was made up
#
# How do you know what is information and what is invention, if you do not have the photograph to compare with? Search again
# from other noise. Where the layer determines the picture, the two searches agree. Where they differ, the layer said nothing.
#
# **Predict.** At which of the three layers will two searches give the same picture?
#
# <details><summary>Answer</summary>
#
# At the early one. At the deep one the two have little in common, pixel by pixel: each has put its pieces somewhere else.
#
# </details>

# %%
again = tp.invert(model, images, layer=layers, n_steps=steps, seed=1)
pairs = torch.cat([made.pixels, again.pixels])
titles = [f"{layer}, search {i}" for i in (1, 2) for layer in layers]
losses = torch.cat([loss, again.numbers["feature_loss"]])
ok = ("ok",) * len(titles)
tp.show(
    tp.Rendering(
        pairs, losses, tuple(titles), ok, "two searches", layout=(2, len(layers))
    )
)

# %%
two = zip(made.pixels.flatten(1), again.pixels.flatten(1), strict=True)
agree = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in two]
print({layer: round(one, 2) for layer, one in zip(layers, agree, strict=True)})
here.holds(all(abs(one) <= 1.0001 for one in agree), "a correlation is at most 1")
here.see(agree[0] > 0.9, "early, two searches find the same picture")
here.see(agree[-1] < 0.5, "deep, they have little in common")

# %% [markdown]
# ## Information by depth
#
# Now at seven depths, with three measures of how much is left. *SSIM* compares structure in small windows, from 0 to 1 for
# the same ([Wang et al. 2004](bib:wang2004ssim)). *PSNR* is the error of the pixels in decibels. The *feature distance*
# asks the network itself how different the two pictures are. The step with the largest fall of SSIM is the bottleneck.
#
# **Predict.** Is the information lost in the last layers?
#
# <details><summary>Answer</summary>
#
# No, most of it early: here between the second and the third depth, where the grid becomes coarser and fine structure has to
# go. What follows loses less of what is left, and says more about it.
#
# </details>

# %%
depth = tp.information_by_depth(model, images, n_steps=steps)
tp.show(depth)

# %%
left = depth.numbers["ssim"]
print(*depth.notes, sep="\n")
here.holds(bool((left <= 1 + 1e-6).all()), "SSIM is at most 1")
here.see(bool(left[0] > 2 * left[-1]), "the first depth holds more than twice the last")
bottleneck = depth.layers.index(depth.bottlenecks[0][1])
here.see(bottleneck <= 3, "the bottleneck is in the first half of the network")

# %% [markdown]
# ## The search has a taste of its own
#
# Many pictures fit a layer about equally well. Which one you get depends on how the picture is written. Frequencies with
# decorrelated colours (the default) prefer smooth pictures. The paper's own way, pixel by pixel, does not.
#
# **Predict.** The same layer, the same number of steps: will the two ways give the same picture?
#
# <details><summary>Answer</summary>
#
# No. Both have a small loss, but the one made of frequencies is closer to the photograph, since photographs are smooth.
# What you see is what the layer kept *and* what the search prefers. So these measures are lower bounds of what is left.
#
# </details>

# %%
layer = depth.layers[1]
ways = {
    way: tp.invert(model, images, layer=layer, n_steps=steps, method=way)
    for way in ("fourier", "pixel")
}
both = torch.cat([photo, *(one.pixels for one in ways.values())])
values = torch.cat([one.numbers["feature_loss"] for one in ways.values()])
titles = ("photograph", "by frequencies", "by pixels")
scores = torch.cat([values.new_zeros(1), values])
tp.show(tp.Rendering(both, scores, titles, ("ok",) * 3, f"loss at {layer}"))

# %%
close = {way: float(one.numbers["ssim"]) for way, one in ways.items()}
print({"feature loss": values.tolist(), "SSIM": close})
here.see(close["fourier"] > close["pixel"], "frequencies come nearer to the photograph")

# %% [markdown]
# ## Why a fixed rate fails
#
# The simplest search is gradient descent with one rate $\eta$ for all: $x \leftarrow x - \eta \, \partial L / \partial x$.
# How large $\eta$ may be depends on how strongly the loss $L$ curves, and that is different for every layer and every
# picture.
#
# **Predict.** Rates 1, 10, 100 and 1000, 15 steps each, at the early layer. Which one is best? What does the largest do?
#
# <details><summary>Answer</summary>
#
# In the lesson's own network 10 is best. 1 hardly moves, and 1000 leaves the loss higher than it was: it jumps over
# the valley and out of the range of colours. [tp.invert](api:invert) uses L-BFGS, which takes its steps from the curvature
# that it finds on the way, and converges at every depth with the same setting.
#
# </details>


# %%
def feature_loss(pixels: torch.Tensor) -> torch.Tensor:
    with tp.capture(model, [layers[0]]) as acts:
        model(model.preprocessing.normalize(pixels))
    return (acts[layers[0]] - given).square().sum() / given.square().sum()


with tp.capture(model, [layers[0]]) as acts, torch.no_grad():
    model(images)
given = acts[layers[0]]

# %%
generator = torch.Generator().manual_seed(0)
noise = 0.5 + 0.1 * torch.randn(1, 3, side, side, generator=generator)
ends, curves = [], []
for rate in (1, 10, 100, 1000):
    pixels, curve = noise, []
    for _ in range(15):
        pixels = pixels.clone().requires_grad_()
        value = feature_loss(pixels)
        (gradient,) = torch.autograd.grad(value, pixels)
        pixels = (pixels - rate * gradient).detach()
        curve.append(float(value.detach()))
    ends.append(pixels.clamp(0, 1))
    curves.append(curve)
    print(f"rate {rate:4}: {curve[0]:.2f} at first, {curve[-1]:.2f} at the end")

# %%
titles = tuple(f"rate {rate}" for rate in (1, 10, 100, 1000))
last = torch.tensor([curve[-1] for curve in curves])
tp.show(
    tp.Rendering(torch.cat(ends), last, titles, ("ok",) * 4, "15 steps, final loss")
)

# %%
here.see(bool(last[-1] > curves[-1][0]), "the largest rate makes it worse")
here.see(bool(last.min() < 0.7 * last[0]), "the smallest is far from the best")
here.see(bool(loss[0] < last.min() / 5), "L-BFGS gets five times lower, and further")

# %% [markdown]
# ## Misconceptions
#
# * *"A small loss says that the picture was found again."* It says that the layer cannot tell the two apart.
# * *"The blurred parts are what the network sees."* They are one of many pictures that look the same to it, chosen by the
#   search.
# * *"Deep layers forget because they are bad."* They keep what the answer needs. Forgetting the rest is what they are for.
# * *"If my inversion diverges, the layer holds nothing."* Or the rate was wrong. Look at the loss curve first.
#
# ## Formulas
#
# The whole objective of [tp.invert](api:invert), with pixels from $-1$ (black) to $1$ (white):
#
# $$L(x) = \frac{\lVert \Phi(x) - \Phi(x_0) \rVert^2}{\lVert \Phi(x_0) \rVert^2} + \lambda_\alpha \sum_{i} |x_i|^6
# + \lambda_{TV} \sum_{i,j} \left( (x_{i+1,j} - x_{i,j})^2 + (x_{i,j+1} - x_{i,j})^2 \right)$$
#
# with $\lambda_\alpha = 10^{-7}$, and $\lambda_{TV} = 3 \cdot 10^{-6}$ for frequencies and $10^{-8}$ for pixels.
#
# $$\text{PSNR} = -10 \log_{10} \frac{1}{N} \sum_i (p_i - q_i)^2, \qquad
# \text{SSIM} = \frac{(2 \mu_p \mu_q + c_1)(2 \sigma_{pq} + c_2)}{(\mu_p^2 + \mu_q^2 + c_1)(\sigma_p^2 + \sigma_q^2 + c_2)}$$
#
# $p$ and $q$ are the two pictures in $[0, 1]$ with $N$ values each. $\mu$, $\sigma^2$ and $\sigma_{pq}$ are means,
# variances and the covariance in a small window; the SSIM of the pictures is its mean over all windows. $c_1$ and $c_2$ are
# small constants.
#
# ## On your own picture
#
#     tapetum lesson 15 --model resnet50 --image dog.jpg
#     tapetum invert dog.jpg --model vgg16 --layer features.2,features.7,features.14 --out inverted
#     tapetum run information_by_depth dog.jpg --model resnet50 --out depth
#
# Look for the depth at which *you* would no longer recognise the picture, and compare it with the depth at which the
# network no longer does.
#
# While `tapetum studio` runs, [an inversion that improves while you watch](studio:found?pictures=cat) opens in it.
#
# ## References
#
# * [Mahendran and Vedaldi 2015](bib:mahendran2015inversion), Understanding deep image representations by inverting them.
# * [Wang et al. 2004](bib:wang2004ssim), SSIM.
# * [Zhang et al. 2018](bib:zhang2018lpips), distances in features.
