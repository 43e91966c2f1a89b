# %% [markdown]
# # 14 · Feature visualisation
#
# **Looks for**: which picture does one channel of a network like best? · about 20 minutes · needs [lesson 7](lesson:7)
#
# You will
#
# * make a picture by gradient ascent, by hand, and see it fail in an interesting way
# * repair it with two independent ideas: robustness to small moves, and frequencies instead of pixels
# * look at channels at three depths, at what a channel is *against*, and at several pictures of one channel
# * let a photograph dream
# * know what such a picture says, and what it does not say

# %%
import torch
import torch.nn.functional as F

import tapetum as tp
from tapetum.course import start

here = start(14)
model = here.model()
images = model.preprocess(here.picture("cat"))
side = here.side(model, 96)
steps = here.quick(20, full=128)

# %% [markdown]
# ## Gradient ascent by hand
#
# Training changes the weights and leaves the pictures as they are. Here it is the other way round. The weights stay as they
# are, and we change the picture $x$ so that one channel of one layer answers more:
#
# $$x \leftarrow x + \eta \, \frac{g}{\mathrm{sd}(g)}, \qquad g = \frac{\partial s(x)}{\partial x}$$
#
# where the score $s(x)$ is the mean of the channel's map and $\eta$ the size of a step. We start from noise. In the
# lesson's own network we take channel 5 of `blocks.4`.
#
# **Predict.** The score of the photograph of a cat is printed below. Can 24 steps from noise get higher than that? Will you
# see what the channel is for?
#
# <details><summary>Answer</summary>
#
# Many times higher. But you will see little: the picture is a fine, coloured grain with some strokes in it. The network is
# not wrong, that grain really drives the channel. It is only nothing that a camera would ever take.
#
# </details>

# %%
layers = ["blocks.1", "blocks.3", "blocks.5"]
layer, channel = "blocks.4", 5
if here.own_model is not None:  # layers of your own network, from early to deep
    layers = [one.layer for one in tp.activation_maps(model, images)]
    layer = layers[len(layers) // 2]
unit = f"{layer}:{channel}"


def answer(pixels: torch.Tensor) -> torch.Tensor:
    with tp.capture(model, [layer]) as acts:
        model(model.preprocessing.normalize(pixels))
    return acts[layer][:, channel].mean((1, 2))


with torch.no_grad():
    of_cat = float(answer(model.denormalize(images)))

# %%
generator = torch.Generator().manual_seed(0)
noise = 0.5 + 0.1 * torch.randn(1, 3, side, side, generator=generator)
pixels, scores = noise, []
for _ in range(24):
    pixels = pixels.clone().requires_grad_()
    score = answer(pixels).sum()
    (gradient,) = torch.autograd.grad(score, pixels)
    pixels = (pixels + 0.03 * gradient / gradient.std()).clamp(0, 1).detach()
    scores.append(float(score.detach()))

begin, end = scores[0], scores[-1]
print(f"photograph {of_cat:.2f}; noise {begin:.2f}; after 24 steps {end:.2f}")
here.see(end > 5 * abs(begin), "24 steps reach five times what the noise had")
here.see(end > 5 * abs(of_cat), "and five times what the photograph has")


# %%
def pictures(title, names, pixels, scores) -> tp.Rendering:
    """Pictures with their names and scores, to be shown side by side."""
    ok = ("ok",) * len(names)
    return tp.Rendering(pixels, scores, tuple(names), ok, method=title)


both_ends = torch.cat([noise.clamp(0, 1), pixels])
names = ("the noise", "after 24 steps")
tp.show(pictures("by hand", names, both_ends, torch.tensor([begin, end])))

# %% [markdown]
# ## Two ideas that repair it
#
# What is wrong with that picture can be measured.
#
# * **It is brittle.** Move it by 5 pixels, and the channel hardly answers any more.
# * **It is fast.** Most of the energy of the picture is in frequencies above a quarter of a cycle per pixel, that is in
#   patterns that repeat within 4 pixels or less. Photographs have nearly everything below.
#
# There is a remedy for each ([Olah et al. 2017](bib:olah2017feature)).
#
# * **Transforms**: before each step move, scale and turn the picture a little, at random. Only what survives that can grow.
# * **Another parametrization**: write the picture as the sum of its frequencies, and its colours in directions that are
#   unrelated in photographs (*decorrelated*). The score is the same. But a step of the same size now moves low frequencies
#   further.
#
# [tp.visualize](api:visualize) has recipes (`preset`) with neither, with either, and with both.
#
# **Predict.** Which of the four pictures reaches the highest score? Which keeps it when it is moved?
#
# <details><summary>Answer</summary>
#
# The highest scores are reached *without* the remedies: what is allowed anything gets further. But those pictures lose most
# of their score when they are moved by 5 pixels. Transforms repair the brittleness, and leave the grain. Frequencies take
# away the grain, and leave the brittleness. You need both. The score alone does not tell you whether a picture is good.
#
# </details>

# %%
recipes = {
    "neither": "plain",
    "frequencies": "fourier_plain",
    "transforms": "pixel",
    "both": "best",
}
made = {
    name: tp.visualize(model, unit, size=side, n_steps=steps, preset=preset)
    for name, preset in recipes.items()
}
four = torch.cat([one.pixels for one in made.values()])
scores = torch.cat([one.scores for one in made.values()])
tp.show(pictures(f"{unit} by four recipes", made, four, scores))


# %%
def fast(pixels: torch.Tensor) -> torch.Tensor:
    """The share of the energy above a quarter of a cycle per pixel."""
    grey = pixels.mean(1) - pixels.mean((1, 2, 3))[:, None, None]
    energy = torch.fft.fft2(grey).abs().square()
    down, across = (torch.fft.fftfreq(size) for size in grey.shape[-2:])
    high = (down[:, None].square() + across[None].square()).sqrt() > 0.25
    return energy[:, high].sum(1) / energy.sum((1, 2))


with torch.no_grad():
    kept = answer(torch.roll(four, (5, 5), (2, 3))) / scores
grain = fast(four)
for i, name in enumerate(made):
    print(f"{name:12} score {scores[i]:.1f}, kept {kept[i]:.0%}, fast {grain[i]:.0%}")
print(f"photograph   fast {float(fast(model.denormalize(images))):.0%}")

# %%
neither, frequencies, transforms, both = range(4)
steady = min(float(kept[transforms]), float(kept[both]))
brittle = max(float(kept[neither]), float(kept[frequencies]))
here.holds(bool((grain <= 1).all()), "a share of the energy is at most 1")
here.see(bool(scores[neither] > scores[both]), "without remedies the score is higher")
here.see(steady > 0.8, "with transforms more than 80 % is kept when it is moved")
here.see(brittle < 0.6, "without them less than 60 %")
here.see(bool(2 * grain[frequencies] < grain[neither]), "frequencies halve the grain")

# %% [markdown]
# ## Channels at three depths
#
# With a recipe that works we can look at many channels at once: "blocks.1:0-4" means channels 0 to 4.
#
# **Predict.** How will the pictures change from the first layer to the last?
#
# <details><summary>Answer</summary>
#
# Early: one pattern, the same everywhere, since a place of that layer sees few pixels. Then textures. Deep: parts, at a few
# places, that begin to look like something. In the quick setting of this lesson (20 steps) they are only begun.
#
# </details>

# %%
units = [f"{one}:0-{here.quick(0, full=4)}" for one in layers]
grid = tp.visualize(model, units, size=side, n_steps=steps)
tp.show(grid)

# %%
lowest, highest = float(grid.pixels.min()), float(grid.pixels.max())
here.holds(0 <= lowest <= highest <= 1, "pixels are in [0, 1]")
here.see(set(grid.status) == {"ok"}, "every channel could be driven from noise")

# %% [markdown]
# ## What a channel is against
#
# A channel has two ends. `negative=True` makes the picture that it answers *least* to. Layers that end in a ReLU show
# only half of it: there a negative value becomes zero, and the gradient with it. Choose a layer without a ReLU at its end
# (such as `blocks.4` here), or look in front of it, as [lesson 16](lesson:16) does.
#
# **Predict.** Will the picture against the channel be the first one with inverted colours?
#
# <details><summary>Answer</summary>
#
# No. It is another pattern. What a channel is against has been learned as well: it is what a different part of the pictures
# shows, not the absence of the first.
#
# </details>

# %%
against = tp.visualize(model, unit, size=side, n_steps=steps, negative=True)
favourite = made["both"]
pair = torch.cat([against.pixels, favourite.pixels])
ends = torch.cat([-against.scores, favourite.scores])
tp.show(pictures("two ends", (f"against {unit}", f"for {unit}"), pair, ends))

# %%
inverted = torch.stack([1 - favourite.pixels.flatten(), against.pixels.flatten()])
alike = float(torch.corrcoef(inverted)[0, 1])
print(f"scores {ends.tolist()}, correlation with the inverted picture {alike:.2f}")
here.see(bool(ends[0] < 0 < ends[1]), "one drives the channel below zero, one above")
here.see(abs(alike) < 0.4, "the one is not the other with inverted colours")

# %% [markdown]
# ## Several pictures of one channel
#
# One picture shows one way to drive a channel. With `diversity=n` we ask for n pictures that drive it and *differ* from each
# other. If they show different things, the channel answers to all of them.
#
# **Predict.** The pictures must now also be unlike each other. What happens to their scores?
#
# <details><summary>Answer</summary>
#
# They fall: a picture that has to do something else as well cannot do the first as well as before.
#
# </details>

# %%
several = tp.visualize(model, unit, size=side, n_steps=steps, diversity=3)
tp.show(several)

# %%
likeness = several.numbers["likeness"]
print(several.scores, likeness)
here.holds(bool((likeness <= 1 + 1e-6).all()), "a cosine is at most 1")
lower = bool(several.scores.mean() < favourite.scores)
here.see(lower, "pictures that differ reach less than the one made alone")
strong = float(several.scores.min()) > 5 * abs(of_cat)
here.see(strong, "each still drives the channel far more than the photograph")

# %% [markdown]
# ## A photograph that dreams
#
# Start from a photograph in place of noise and let a whole layer answer more to whatever it already sees:
# [tp.deep_dream](api:deep_dream) raises the mean square of the layer, first in a small copy of the picture, then in larger
# ones (*octaves*), so that patterns of all sizes appear ([Mordvintsev et al. 2015](bib:mordvintsev2015inceptionism)).
#
# **Predict.** Why does a network so often dream of animals?
#
# <details><summary>Answer</summary>
#
# More than a third of the 1000 classes of ImageNet are animals, 118 of them breeds of dogs. What a network was trained on
# is what it looks for.
#
# </details>

# %%
large = here.side(model, here.quick(128, full=256))
dream = tp.deep_dream(model, images, layer=layers[-1], size=large, n_octaves=3)
tp.show(dream, pixels=model.denormalize(images))

# %%
before = float(dream.numbers["before"][0])
after = float(dream.scores[0])
print(f"mean square of {layers[-1]}: photograph {before:.2f}, dream {after:.2f}")
here.see(after > 1.5 * before, "the layer answers half as much again to the dream")

# %% [markdown]
# ## How to read such pictures, and how not to
#
# A made picture is the *extreme*. Compare the channel's answer to it with its answers to photographs.
#
# **Predict.** The channel's picture reaches the score that you saw. What do four photographs reach?
#
# <details><summary>Answer</summary>
#
# Next to nothing in comparison. No photograph is full of what the channel looks for. So what the channel does on real
# pictures need not look like its made picture: [lesson 16](lesson:16) looks at real pictures for that reason.
#
# </details>

# %%
named = ("cat", "astronaut", "coffee", "rocket")
photos = torch.cat([model.preprocess(here.picture(name)) for name in named])
with torch.no_grad():
    real = answer(model.denormalize(photos))
small = F.interpolate(model.denormalize(photos), (side, side), mode="area")
five = torch.cat([small, favourite.pixels])
all_scores = torch.cat([real, favourite.scores])
tp.show(pictures(f"answers of {unit}", (*named, "made for it"), five, all_scores))

# %%
beyond = float(favourite.scores) > 5 * float(real.abs().max())
here.see(beyond, "the made picture is far beyond all photographs")

# %% [markdown]
# ## Misconceptions
#
# * *"The picture with the highest score is the best."* The grainy one has the highest. The picture must also be one that
#   could exist.
# * *"The grain is a mistake of the network."* It is a true answer to the question that was asked: any pixels at all. The
#   remedies ask another question.
# * *"This channel is a dog detector, its picture has a snout."* You see what drives it most, from one starting noise and
#   with one recipe. Look at several pictures, at its other end, and at real examples.
# * *"A clear picture shows that the channel matters."* Whether the network uses it for its answer is another question
#   ([lesson 9](lesson:9)).
#
# ## Formulas
#
# The picture of a channel, with transforms $t$ drawn at random for each step:
#
# $$x^* = \underset{x}{\text{arg max}} \; \mathbb{E}_t \left[ s\big(t(x)\big) \right],
# \qquad s(x) = \frac{1}{hw} \sum_{i,j} a_{ij}(x)$$
#
# $a_{ij}$ is the channel's value at row $i$ and column $j$ of its map, which has $h \times w$ places. As a sum of
# frequencies the picture is
#
# $$x = \sigma\!\left( \tfrac{1}{4}\, C \, \mathcal{F}^{-1}\!\left[ \frac{z_f}{\max(f, f_{\min})^{d}} \right] \right)$$
#
# where $z_f$ are the numbers that are optimised, $f$ is the frequency, $\mathcal{F}^{-1}$ the inverse Fourier transform,
# $C$ the $3 \times 3$ matrix that turns unrelated colours into red, green and blue, and $\sigma$ the sigmoid. Dividing by
# the frequency ($d = 1$; the recipe "best" has 1.2) gives each the strength that it has in photographs.
#
# The diversity term of picture $m$, with $G$ the Gram matrix of the layer: $-w\,|s| \cdot$ the mean over the other pictures
# $k$ of $\cos(G_m, G_k)$.
#
# ## On your own picture
#
#     tapetum lesson 14 --model resnet50 --image dog.jpg
#     tapetum render layer3:5 layer3:6 --model resnet50 --size 256 --steps 512 --out pictures
#
# Try sizes of 256, 512 and 1024 px: a channel's pattern keeps its size in pixels, so a large picture shows more copies of it.
# All recipes are in [how to see what units look for](howto:render).
#
# While `tapetum studio` runs, [a unit whose picture improves while you watch](studio:looks_for?unit=blocks.4.2:3) opens in
# it.
#
# ## References
#
# * [Olah et al. 2017](bib:olah2017feature), Feature Visualization: transforms, frequencies, diversity, negative ends.
# * [Mordvintsev et al. 2015](bib:mordvintsev2015inceptionism), Inceptionism: dreams.
# * [Simonyan et al. 2014](bib:simonyan2014saliency): a picture for a class by gradient ascent.
