# %% [markdown]
# # 5 · Depth is abstraction
#
# **Found**: every layer holds the picture in another form; what is gained on the way, and what is lost? ·
# about 15 minutes · needs [lesson 4](lesson:4)
#
# You will
#
# * compute what a network trades for what with depth: places, channels, fields, zeros
# * look at three depths, at the whole network, and at all channels of one layer
# * measure abstraction: a darker picture of the same cat becomes the same, another picture does not

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(5)
model = here.model()
cat = here.picture("cat")
images = model.preprocess(cat)

# %% [markdown]
# ## The trade, computed
#
# Books quote numbers for VGG-16. Here they are computed on the network that you use. *Places* are the rows and columns of a
# layer's map. A *receptive field* is the part of the picture that one place can see; [lesson 6](lesson:6) is about it.
#
# **Predict.** The picture has 3 numbers for each pixel. How many are there for each pixel in the layers, early and deep?
#
# <details><summary>Answer</summary>
#
# The built-in model begins with 8 numbers per pixel and goes below 1: blocks 2 and 4 hold fewer numbers than the picture has
# pixels. At the end it makes 1280 channels of 7 × 7 places, 1.25 per pixel, and more than nine in ten of them are zero.
#
# </details>

# %%
trade = tp.depth_properties(model, images)
print(trade)
tp.show(trade)

# %%
first, *_, last = trade.rows
height, width = images.shape[-2:]
for row in trade.rows:
    numbers = row.channels * row.grid[0] * row.grid[1] / (height * width)
    here.holds(
        abs(row.per_pixel - numbers) < 1e-9,
        f"{row.layer}: channels x places / pixels = {numbers:.3g}",
    )
here.see(
    first.grid[0] == 16 * last.grid[0] and last.channels == 40 * first.channels,
    "1/16 of the places a side, 40 x the channels",
)
here.see(
    min(row.per_pixel for row in trade.rows) < 1,
    "somewhere in the middle there are fewer numbers than pixels",
)
here.see(last.zeros > 0.9, "more than nine in ten deep values are exactly 0")

# %% [markdown]
# ## Three depths
#
# The four channels of an early, a middle and a deep layer that vary most from place to place. Each map has its own size: a
# square is one number.
#
# **Predict.** In which row would a friend recognise the picture?
#
# <details><summary>Answer</summary>
#
# In the first. The last has 7 × 7 places: it says "here, and strongly", of something that it has a channel for.
#
# </details>

# %%
maps = tp.activation_maps(model, images, k=4)
tp.show(maps)

# %%
areas = [one.values.shape[-2] * one.values.shape[-1] for one in maps]
here.holds(
    all(bool((one.values.var((2, 3)).diff(dim=1) <= 1e-3).all()) for one in maps),
    "channels are in order of variance",
)
here.see(areas[0] == 256 * areas[-1], "one deep place stands for 256 early ones")

# %% [markdown]
# ## Many channels of one layer
#
# Four channels are a selection. Here are up to 64 of the middle layer. Blue is below zero: this layer has no ReLU at its end.
#
# **Predict.** Do they all show the cat?
#
# <details><summary>Answer</summary>
#
# Some show its eyes, some the fur, some the background, and some hardly anything. With 40 channels the layer keeps 40
# questions and the answer to each at every place.
#
# </details>

# %%
many = tp.activation_maps(model, images, layers=maps[len(maps) // 2].layer, k=64)
tp.show(many[0])

# %%
here.holds(many[0].values.shape[1] <= 64, "at most 64 are shown")
here.holds(
    len(set(many[0].channels[0].tolist())) == many[0].values.shape[1],
    "each channel is shown once",
)

# %% [markdown]
# ## The whole network in a strip
#
# For each block the mean over its channels, on its own grid. The strip shows where a block is active, and how coarse it has
# become. What the channels tell apart is averaged away.
#
# **Predict.** Where do the two eyes get lost?
#
# <details><summary>Answer</summary>
#
# At 112 × 112 you still see them; from 56 × 56 on hardly. This does not mean that the network has lost them: single channels
# still mark them (look at the 28 × 28 maps above). The mean over channels with positive and negative values cancels.
#
# </details>

# %%
strip = tp.layer_progression(model, images)
tp.show(strip)

# %%
sides = [one.shape[-1] for one in strip.maps]
print(sides)
here.see(sides == sorted(sides, reverse=True), "places never become finer again")
here.see(
    (len(sides), sides[0], sides[-1]) == (16, 112, 7),
    "16 blocks, from 112 to 7 places a side",
)

# %% [markdown]
# ## Abstraction, measured
#
# Abstraction means: to keep what matters and to forget the rest. For a network that names things, brightness and mirroring do
# not matter. So we take the cat, the cat at half the brightness, the cat in a mirror, and three other pictures. For each
# layer we describe a picture by the mean of every channel, and ask: how far is the dark cat from the cat, compared with the
# other pictures?
#
# **Predict.** Which is nearer to the cat at the first block: the same cat at half the brightness, or a cup of coffee?
#
# <details><summary>Answer</summary>
#
# The cup of coffee. To the first block, half the brightness is half the activation: a large difference. Later the dark cat
# becomes the cat: at the end its distance is about a seventh of that of other pictures. The mirror image is near all along: a
# mean over places does not know left from right. In the middle it is a little farther, where filters answer to one slant of
# an edge.
#
# </details>

# %%
others = [here.picture(name) for name in ("astronaut", "coffee", "rocket")]
pictures = torch.cat(
    [model.preprocess(one) for one in (cat, cat / 2, cat.flip(-1), *others)]
)
active = tp.mean_activations(model, pictures)
tp.show(active)


# %%
def distances(means: torch.Tensor) -> list[float]:
    """From the first picture, divided by the mean distance of the last three."""
    far = (means - means[:1]).norm(dim=1)
    return (far / far[3:].mean()).tolist()


ratios = [distances(means) for means in active.means]
for layer, row in zip(active.layers, ratios, strict=True):
    dark, mirrored, _, coffee, _ = row[1:]
    print(f"{layer:12} dark {dark:.2f}  mirrored {mirrored:.2f}  coffee {coffee:.2f}")

# %%
here.holds(
    all(abs(sum(row[3:]) / 3 - 1) < 1e-4 for row in ratios),
    "1 is the mean distance of the three other pictures",
)
here.see(
    ratios[0][1] > ratios[0][4],
    "at the first block the cup of coffee is nearer to the cat than the dark cat",
)
here.see(
    ratios[-1][1] < 0.2 and ratios[-1][2] < 0.2,
    "at the last block both are the cat: less than a fifth of the distance",
)

# %% [markdown]
# A control: is this learned, or does any deep network do it? The same network with random weights:

# %%
control = tp.load(model.source, weights=None)
untrained = tp.mean_activations(control, pictures, layers=active.layers)
tp.show(untrained)

# %%
random_ratios = [distances(means) for means in untrained.means]
print(
    f"dark cat at the end: trained {ratios[-1][1]:.2f}, random {random_ratios[-1][1]:.2f}"
)
here.see(
    random_ratios[-1][1] > 2 * ratios[-1][1],
    "with random weights the dark cat stays more than twice as far",
)

# %% [markdown]
# ## Misconceptions
#
# * *"Deeper layers know more about the picture."* They hold fewer numbers about it. What they hold is easier to use for the
#   task.
# * *"A map of 7 × 7 is a small picture."* Each of its numbers is about a large part of the picture, often all of it.
# * *"The mean over channels shows what a layer sees."* It shows where the layer is active. Positive and negative values
#   cancel.
# * *"A layer with larger activations matters more."* Layers have no common unit: the next one may divide by any number.
# * *"The receptive field is in the books."* It is in your network: compute it.
#
# ## Formulas
#
# A layer with $c$ channels and $h \times w$ places holds, for an image of $H \times W$ pixels,
#
# $$\frac{c \, h \, w}{H \, W}$$
#
# numbers per pixel. The strip shows $\frac{1}{c} \sum_k a_{kij}$ at the place $(i, j)$, where $a_{kij}$ is the activation of
# channel $k$ there. The mean activation of channel $k$ is $m_k = \frac{1}{hw} \sum_{i,j} a_{kij}$.
#
# With $m(x)$ the vector of all $m_k$ for the picture $x$, the distance of a changed picture $x'$ compared with others
# $y_1, \dots, y_n$ is
#
# $$r = \frac{\lVert m(x') - m(x) \rVert}{\frac{1}{n} \sum_i \lVert m(y_i) - m(x) \rVert}$$
#
# 0 means that the layer does not notice the change, 1 that it is as large as that to another picture.
#
# ## On your own picture
#
#     tapetum lesson 5 --model resnet18 --image dog.jpg
#     tapetum run depth_properties dog.jpg --model vgg16 --weights random --out depth
#     tapetum run layer_progression dog.jpg --layers "blocks.*" --out strip
#
# Look for the layer at which the darker picture becomes the same as yours.
#
# ## References
#
# * [Olah et al. 2017](bib:olah2017feature), Feature Visualization: what is found from edges to objects.
# * [tp.depth_properties](api:depth_properties), [tp.activation_maps](api:activation_maps),
#   [tp.layer_progression](api:layer_progression), [tp.mean_activations](api:mean_activations).
# * Next: [lesson 6](lesson:6), what one place can see.
