# %% [markdown]
# # 2 · A filter is a pattern
#
# **Looks for**: a convolution is a small pattern laid over every place of an image; which pattern does it look for? ·
# about 25 minutes · needs [lesson 1](lesson:1)
#
# You will
#
# * compute what a filter answers, by hand, and say what the number means
# * find edges in a photograph with nine numbers
# * read the first layer of a trained network: its filters, their answers, and where on the picture they lie
# * tell learned filters from random ones by a measurement

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(2)
model = here.model()
cat = here.picture("cat")
images = model.preprocess(cat)

# %% [markdown]
# ## Three filters, two images
#
# Lay a small table of weights (the *filter* or *kernel*) over a part of the image of the same size, multiply what lies on top
# of each other, add everything up: one number. Move one place on, and again. The numbers together are a new picture, the
# *map*. A number is large where the image looks like the filter, negative where it looks like its opposite, and zero where
# there is nothing of the kind.
#
# Here are two images of 10 × 10 zeros and ones: a vertical edge (columns 5 to 9 are one) and a diagonal line. Three filters of
# 3 × 3 weights look for a vertical edge, a horizontal edge and a diagonal line. Around the images lies a row of zeros, so that
# the maps have 10 × 10 places as well.
#
# **Predict.** Where will the vertical filter answer to the vertical edge, and with which number? What will the horizontal
# filter answer to it?
#
# <details><summary>Answer</summary>
#
# The vertical filter says 3 in columns 4 and 5, on both sides of the edge: three ones times the weight 1. Inside the black and
# the white area it says 0, since its weights add up to zero. The horizontal filter says 0 everywhere, but for the first and
# the last row. There the white area ends in the zeros around the image, and that *is* a horizontal edge. The padding has made
# it.
#
# </details>

# %%
toy = tp.toy_selectivity()
tp.show(toy)

# %%
edge, vertical = toy.images[0], toy.kernels[0]
window = edge[3:6, 3:6]  # around row 4, column 4
by_hand = float((vertical * window).sum())
print(toy)
print("by hand at row 4, column 4:", by_hand)
here.holds(
    by_hand == float(toy.responses[0, 0, 4, 4]) == 3, "by hand it is 3, as in the map"
)
inside = toy.responses[0, 1, 1:9]
here.holds(not inside.any(), "away from the border the horizontal filter is silent")
line = toy.responses[1, :, 4, 4].tolist()
here.holds(line == [0, 0, 3], "on the line only the diagonal filter answers, with 3")

# %% [markdown]
# ## The same on a photograph
#
# Filters of this kind are older than neural networks. *Sobel* looks for edges like the ones above, a little smoothed; the
# *gradient magnitude* joins its two directions; the *Laplacian* looks for spots and thin lines; *Gaussian* is an average
# around each place; *sharpen* adds to each place what makes it differ from its neighbours.
#
# **Predict.** Sobel X or Sobel Y: which one shows the lids of the eyes, which one the sides of the nose? And what would Sobel
# answer to a photograph of a white wall?
#
# <details><summary>Answer</summary>
#
# Sobel X answers to what is vertical (brightness changes along x): the sides of the nose. Sobel Y answers to what is
# horizontal: the lids. To a white wall both answer 0, like every filter whose weights add up to zero: it looks at
# differences, not at brightness.
#
# </details>

# %%
names = ["sobel_x", "sobel_y", "gradient_magnitude", "laplacian", "gaussian", "sharpen"]
filtered = tp.filter_image(cat, names)
tp.show(filtered)

# %%
print(filtered)
across, down, strength = (one[0] for one in filtered.responses[:3])
here.holds(
    torch.allclose(strength, (across**2 + down**2).sqrt(), atol=1e-5),
    "the magnitude is the length of the arrow (sobel_x, sobel_y)",
)
wall = tp.filter_image(torch.full((1, 3, 20, 20), 0.9), "sobel_x")
here.holds(float(wall.responses[0].abs().max()) < 1e-5, "an even wall has no edges")
edges = float((strength > 1).float().mean())
here.see(edges < 0.1, "strong edges (above 1) are on less than a tenth of the cat")

# %% [markdown]
# Nothing keeps you to filters with a name. Write down any table of numbers with an odd number of rows and columns, and see
# what it looks for. A thin bright vertical line, for example:

# %%
tp.filter_image(cat, [[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]])

# %% [markdown]
# ## What a network has learned
#
# A convolutional layer is a set of filters whose weights nobody wrote down: training found them. A filter of the first layer
# reads red, green and blue, so it has three tables of weights, and can be drawn as a tiny colour picture: mid grey is the
# weight 0, brighter is positive, darker negative. All are on one scale, so a pale filter is one with small weights.
#
# **Predict.** The network has 32 filters at its first layer. Do you expect parts of cats and cars, or edges and colours? Are
# all of them in use?
#
# <details><summary>Answer</summary>
#
# Edges, spots and colours. A filter of 3 × 3 pixels sees a window much too small for an ear. And four of the 32 are plain
# grey: their weights are next to zero, so they answer to nothing. Training has switched them off.
#
# </details>

# %%
first = tp.filters(model)
tp.show(first)

# %%
print(first)
dead = int((~first.alive).sum())
here.see(dead == 4, "four of the first filters are switched off")
here.see(
    first.colors and first.size == (3, 3), "each is a colour picture of 3 × 3 pixels"
)

# %% [markdown]
# Colour works at the first layer only. Deeper filters read the *maps* of the layer before, and map 17 is no colour. All that
# can be drawn of them is one table for each map they read, or the mean over these, as the next picture does (here each filter
# reads one map alone, so nothing is lost). Their weights alone say little about what they look for in a photograph; for that
# see [lesson 14](lesson:14).

# %%
deep = "blocks.5.0.conv_dw"
ran = [layer.name for layer in model.layers()]
layer = deep if deep in ran else first.layer
tp.show(tp.filters(model, layer=layer))

# %% [markdown]
# ## What the filters answer
#
# Now lay the filters over the cat. Above you see the filter, below its map, below that the map over **what the model saw**:
# each number lies at the middle of the window that it was computed from. Red says that the pattern is there, blue that its
# opposite is. Both are information, but the ReLU that follows will keep the red alone.
#
# How many places has a map? A filter of $k$ pixels that moves $s$ pixels at a time, over an image of $n$ pixels with $p$ more
# at either end, fits $\lfloor (n + 2p - k)/s \rfloor + 1$ times. [tp.output_size](api:output_size) computes it.
#
# **Predict.** The image has 224 pixels, the filter 3, it moves 2 pixels at a time, with one pixel of padding at either end.
# How many places has the map? Do the nine maps look like a cat?
#
# <details><summary>Answer</summary>
#
# 112: half of 224. (This network pads one pixel at the right and the lower end alone, which comes to the same number.) And
# they do look like a cat, each in its own way: one is a drawing of outlines, another answers to dark places, another to a
# colour. The first layer describes the image, it does not recognise anything yet.
#
# </details>

# %%
responses = tp.filter_responses(model, images)
tp.show(responses)

# %%
print(responses)
places = responses.maps.shape[-1]
here.holds(tp.output_size(224, 3, stride=2, padding=1) == 112, "224 pixels, 112 places")
here.see(places == 112, "the maps of this network have 112 places, too")

# %% [markdown]
# Is the number in the map really "filter times window"? Take the place where the first of these filters answers most, cut out
# the window that it sees there, multiply and add. (A bias is a number that the layer adds to each answer.)

# %%
strongest, filter_ = responses.maps[0, 0], responses.filters.weights[0]
cell = divmod(int(strongest.abs().argmax()), strongest.shape[1])
sides = zip(cell, responses.centres, responses.strides, filter_.shape[1:], strict=True)
top, left = (round(c + s * i - (k - 1) / 2) for i, c, s, k in sides)
window = images[
    0, :, max(top, 0) : top + filter_.shape[1], max(left, 0) : left + filter_.shape[2]
]
bias = getattr(model.module.get_submodule(responses.filters.layer), "bias", None)
added = 0.0 if bias is None else float(bias.detach()[responses.channels[0]])
if window.shape == filter_.shape:
    by_hand = float((filter_ * window).sum()) + added
    print(f"by hand {by_hand:.4f}, in the map {float(strongest[cell]):.4f}")
    here.see(
        abs(by_hand - float(strongest[cell])) < 1e-3 * (1 + abs(by_hand)),
        "filter times window, added up, is the number in the map",
    )

# %% [markdown]
# ## Before and after learning
#
# Before training, weights are drawn by lot. [tp.untrained](api:untrained) makes the same network with new random weights, and
# [tp.compare_filters](api:compare_filters) puts the same layer of both side by side. Look at pairs from *one* network only:
# the filters of two different networks say nothing about learning.
#
# Random filters are noise: neighbouring weights have nothing to do with each other. We measure this as the share of a filter's
# energy in slow changes (below a quarter of a cycle per pixel). For noise it is $\pi/16 = 0.196$ on average, whatever the size
# of the filter.
#
# **Predict.** After learning, will the filters be smoother than noise, or finer?
#
# <details><summary>Answer</summary>
#
# Smoother, here: 0.36 instead of 0.19 at the first layer. At the deep layer that you saw above it is 0.90: soft spots. It need
# not be so in each layer. A filter for fine stripes has less in slow changes than noise. What learning does for certain is
# that the filters stop being noise.
#
# </details>

# %%
compared = tp.compare_filters(model)
tp.show(compared)

# %%
print(compared)
before, after = (
    float(one.nanmean()) for one in (compared.low_random, compared.low_learned)
)
here.holds(abs(compared.expected - torch.pi / 16) < 1e-9, "noise has π/16")
here.see(abs(before - compared.expected) < 0.05, "random filters are like noise")
here.see(after > 1.5 * before, "learned filters have 1.5 times as much in slow changes")

# %%
compared = tp.compare_filters(model, layer=layer)
tp.show(compared)

# %%
mean = float(compared.low_learned.nanmean())
here.see(
    mean > 0.8, f"at the deep layer nearly all energy is in slow changes ({mean:.2f})"
)

# %% [markdown]
# ## Misconceptions
#
# * *A filter of the first layer looks for things.* It looks for an edge, a spot or a colour in a window of a few pixels.
#   Things come much deeper ([lesson 5](lesson:5)).
# * *Blue in a map is nothing.* Zero is nothing. Blue is the opposite of the pattern: dark where the filter wants bright.
# * *The filters of layer 10 can be shown in colour, too.* They read channels that are no colours; a picture that takes three
#   of them for red, green and blue shows something that is not there.
# * *What lights up at the border is in the picture.* Often it is the padding: the zeros around the image make edges. And zero
#   is not black for a network: after normalising it is a middle grey.
# * *A convolution turns the kernel round.* In mathematics it does. Deep-learning libraries compute the correlation and call it
#   convolution; learned weights come out turned, and nobody notices. A Sobel kernel would change its sign.
#
# ## Formulas
#
# * The answer of a filter: $a_{yx} = b + \sum_{c,i,j} w_{cij} \, x_{c,\; sy + i - p,\; sx + j - p}$, with the weights $w$, the
#   bias $b$, the input $x$ of channel $c$, stride $s$, padding $p$; $i$ and $j$ run over the kernel.
# * The size of the map: $\lfloor (n + 2p - d(k-1) - 1)/s \rfloor + 1$ for $n$ pixels, a kernel of $k$ and a dilation of $d$.
# * Strength of an edge: $\sqrt{g_x^2 + g_y^2}$ with the answers $g_x$, $g_y$ of Sobel X and Y.
# * Share of slow changes: $\int_{|f| \le 1/4} |W(f)|^2 \, df \,/ \int |W(f)|^2 \, df$, with $W$ the Fourier transform of the
#   filter and $f$ in cycles per pixel. Noise has the same energy at all frequencies, so its share is the area of the disc,
#   $\pi/16$, of the square of side 1.
#
# ## On your own picture
#
# `tapetum lesson 2 --image brick_wall.jpg` shows the two Sobel maps with very different content.
# `tapetum lesson 2 --model resnet18` shows filters of 7 × 7 pixels, which are much easier to read, and
# `tapetum run filter_responses your.jpg --model vgg16 --k 16` the answers alone.
#
# ## References
#
# * [LeCun et al. 1998](bib:lecun1998gradient): filters that are learned rather than written down.
# * [Krizhevsky et al. 2012](bib:krizhevsky2012imagenet): the picture of learned first-layer filters that everybody knows.
# * [Olshausen and Field 1996](bib:olshausen1996emergence): edge filters come out of photographs even without any classes.
# * [Zeiler and Fergus 2014](bib:zeiler2014deconvnet): what later layers look for.
# * [tp.filters](api:filters), [tp.filter_responses](api:filter_responses), [tp.filter_image](api:filter_image),
#   [tp.toy_selectivity](api:toy_selectivity).
